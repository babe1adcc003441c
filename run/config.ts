import { parseArgs } from 'node:util';

/** A flag of a program: `--name=value`. */
export interface Flag {
  readonly type: 'string';
  readonly default: string;
  /** One line for --help. */
  readonly help: string;
  /** Refuses a wrong value: gives what is wrong with it. */
  readonly check?: (value: string) => string | undefined;
}

export type Flags = Readonly<Record<string, Flag>>;
export type Config<F extends Flags> = { readonly [K in keyof F]: string };

/** What a pod is told of itself by its environment. */
export interface Environment {
  readonly nodeName: string | undefined;
  readonly podName: string | undefined;
  readonly podNamespace: string | undefined;
}

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Reads flags from a command line; a word before the flags, such as `controller`, is left to the program.
 * @throws UsageError that lists everything that is wrong
 */
export function parseFlags<F extends Flags>(flags: F, args: readonly string[]): { config: Config<F>; words: string[] } {
  const problems: string[] = [];
  const options = Object.fromEntries(Object.keys(flags).map((name) => [name, { type: 'string' as const }]));
  const { values, positionals, tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!flags[token.name]) problems.push(`there is no flag ${token.rawName}`);
    else if (token.value === undefined) problems.push(`${token.rawName} needs a value: ${token.rawName}=VALUE`);
  }
  const config: Record<string, string> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const given = values[name];
    config[name] = typeof given === 'string' ? given : flag.default;
    const wrong = flag.check?.(config[name]);
    if (wrong) problems.push(`--${name}: ${wrong}`);
  }
  if (problems.length > 0) throw new UsageError(`${problems.join('; ')} (--help lists the flags)`);
  return { config: config as Config<F>, words: positionals };
}

export function helpText(program: string, flags: Flags): string {
  const lines = Object.entries(flags).map(([name, flag]) => `  --${name}=${flag.default === '' ? '…' : flag.default}\n      ${flag.help}`);
  return `${program}\n\n${lines.join('\n')}\n`;
}

/** The command line of this process, without the interpreter and the program. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** What the chart puts into the environment: NODE_NAME, POD_NAME, POD_NAMESPACE. */
export function environment(): Environment {
  const { NODE_NAME, POD_NAME, POD_NAMESPACE } = process.env;
  return { nodeName: NODE_NAME, podName: POD_NAME, podNamespace: POD_NAMESPACE };
}
