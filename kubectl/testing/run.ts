import { Reader } from '../cluster/reader.ts';
import { parseCommandLine } from '../command-line.ts';
import { runCommand } from '../run-command.ts';
import type { FakeKubectl } from './fake-kubectl.ts';
import { NOW } from './objects.ts';

interface Output {
  readonly code: number;
  readonly out: string;
  readonly warnings: string;
  readonly notSeen: string[];
}

/** Runs a command line on a fake cluster, as main.ts does. `typed` is what the person answers at the terminal. */
export async function runOn(
  fake: FakeKubectl,
  args: readonly string[],
  { typed, now = () => NOW }: { typed?: string; now?: () => number } = {},
): Promise<Output> {
  const line = parseCommandLine(args);
  if (line === 'help') throw new Error('help was asked for');
  const reader = new Reader(fake.kubectl);
  let [out, warnings] = ['', ''];
  const code = await runCommand({
    line,
    reader,
    kubectl: fake.kubectl,
    now,
    out: (text) => {
      out += text;
    },
    warn: (text) => {
      warnings += text;
    },
    ...(typed === undefined ? {} : { ask: () => Promise.resolve(typed) }),
  });
  return { code, out, warnings, notSeen: reader.notSeen };
}
