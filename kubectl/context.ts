import type { Kubectl } from './cluster/kubectl.ts';
import type { Reader } from './cluster/reader.ts';
import type { CommandLine } from './command-line.ts';
import { toYaml } from './report/yaml.ts';

/** What a command works with. */
export interface Context {
  readonly line: CommandLine;
  readonly reader: Reader;
  /** For what {@link reader} does not do: exec, logs, writes. */
  readonly kubectl: Pick<Kubectl, 'run'>;
  /** In milliseconds since 1970. */
  readonly now: () => number;
  readonly out: (text: string) => void;
  readonly warn: (text: string) => void;
  /** Asks the person; undefined when nobody is at a terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined;
}

/** Exit status: 0, or 1 when something is not well. */
export type ExitStatus = 0 | 1;

/** Writes a report in the form that was asked for. */
export function write({ line, out }: Context, { data, text }: { data: unknown; text: () => readonly string[] }): void {
  if (line.output === 'json') out(`${JSON.stringify(data, null, 2)}\n`);
  else if (line.output === 'yaml') out(toYaml(data));
  else out(`${text().join('\n').replace(/^\n+/, '')}\n`);
}
