import { parseArgs } from 'node:util';
import { UsageError } from '../run/config.ts';

const TEXT = { type: 'string' } as const;
const SWITCH = { type: 'boolean' } as const;

/** Flags of all commands: which cluster, which release. */
const COMMON = {
  context: TEXT,
  kubeconfig: TEXT,
  namespace: { ...TEXT, short: 'n', default: 'aoe-csi' },
  help: { ...SWITCH, short: 'h' },
} as const;

const OUTPUT = { output: { ...TEXT, short: 'o' } } as const;

/** A command: its words, its own flags, and what it does. */
interface Command {
  /** The words after the command, for the help. */
  readonly words: string;
  /** How many words it takes. */
  readonly count: number;
  readonly help: string;
  readonly flags: Readonly<Record<string, { readonly type: 'string' | 'boolean'; readonly short?: string }>>;
}

export const COMMANDS = {
  status: {
    words: '',
    count: 0,
    help: 'what is not well, then segments, nodes, pools and volumes; --exit-code: 1 when something is not well',
    flags: { ...OUTPUT, 'exit-code': SWITCH },
  },
  get: {
    words: 'VOLUME | pvc:NAMESPACE/NAME | pod:NAMESPACE/NAME',
    count: 1,
    help: 'a volume with its claim, pods, node, address, holder and conditions',
    flags: OUTPUT,
  },
  path: {
    words: 'VOLUME | pvc:NAMESPACE/NAME | pod:NAMESPACE/NAME',
    count: 1,
    help: 'the way from the pod to the disk of the storage node, with what is wrong; --exec: looks on the nodes, too',
    flags: { exec: SWITCH, 'exit-code': SWITCH },
  },
  locks: { words: '', count: 0, help: 'who has a lock, since when, and whether that node is well', flags: OUTPUT },
  'break-lock': {
    words: 'VOLUME',
    count: 1,
    help: 'cuts off the holder of a lock, and clears the lock; --holder=NAME: who must have it',
    flags: { holder: TEXT },
  },
  orphans: {
    words: '',
    count: 0,
    help: 'data that belongs to no AoEVolume or AoESnapshot, or to an AoEVolume on another node',
    flags: OUTPUT,
  },
  copies: {
    words: '',
    count: 0,
    help: 'volumes that are being made of a snapshot or of another target, or moved, and how far their copies are',
    flags: OUTPUT,
  },
  check: {
    words: 'node NODE',
    count: 2,
    help: 'one node: initiator, target, interfaces, parameters of the kernel module, kernel',
    flags: { 'exit-code': SWITCH },
  },
  bundle: {
    words: '',
    count: 0,
    help: 'writes a .tar.gz for those who help you; --file, --redact: pseudonyms for names and MACs, --exec: looks on the nodes, too',
    flags: { file: TEXT, redact: SWITCH, exec: SWITCH },
  },
  trace: {
    words: 'VOLUME',
    count: 1,
    help: 'records the frames of a volume; --seconds (10), --frames, --mac, --snap, --file (VOLUME.pcap)',
    flags: { seconds: TEXT, frames: TEXT, mac: TEXT, snap: TEXT, file: TEXT },
  },
  completion: { words: 'bash | zsh', count: 1, help: 'prints what makes the shell complete these commands', flags: {} },
} as const satisfies Readonly<Record<string, Command>>;

export type CommandName = keyof typeof COMMANDS;

/** A command line that was understood. */
export interface CommandLine {
  readonly command: CommandName;
  readonly words: readonly string[];
  readonly context: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly namespace: string;
  readonly output: 'text' | 'json' | 'yaml';
  /** Value of a flag of the command; undefined when it was not given. */
  readonly text: (flag: string) => string | undefined;
  readonly isOn: (flag: string) => boolean;
}

export function isCommand(word: string | undefined): word is CommandName {
  return word !== undefined && Object.hasOwn(COMMANDS, word);
}

/** The flags that a command takes, those of all commands included. */
export function flagsOf(command: CommandName): Record<string, { type: 'string' | 'boolean'; short?: string }> {
  return { ...COMMANDS[command].flags, ...COMMON };
}

/**
 * @returns 'help' when that is what was asked for
 * @throws UsageError
 */
export function parseCommandLine(given: readonly string[]): CommandLine | 'help' {
  // kubectl takes -n=NAME, too; Node.js would take the "=" for a part of the value.
  const args = given.flatMap((arg) => (/^-[no]=/.test(arg) ? [arg.slice(0, 2), arg.slice(3)] : [arg]));
  // The command may come after flags of all commands; only the second pass knows which flags are right.
  const { positionals } = parseArgs({ args: [...args], options: COMMON, strict: false, allowPositionals: true });
  const [command] = positionals;
  if (args.length === 0 || command === 'help' || (command === undefined && (args.includes('--help') || args.includes('-h')))) return 'help';
  if (!isCommand(command)) throw new UsageError(command === undefined ? 'give a command' : `there is no command "${command}"`);
  const parsed = strictly(args, command);
  if (parsed.values.help === true) return 'help';
  const words = parsed.positionals.slice(1);
  const { count, words: wanted } = COMMANDS[command];
  if (words.length !== count) throw new UsageError(`usage: kubectl aoe ${[command, wanted].join(' ').trim()}`);
  const text = (flag: string): string | undefined => {
    const value = parsed.values[flag];
    return typeof value === 'string' ? value : undefined;
  };
  const output = text('output') ?? 'text';
  if (output !== 'text' && output !== 'json' && output !== 'yaml') throw new UsageError(`-o ${output}: write json or yaml`);
  return {
    command,
    words,
    output,
    context: text('context'),
    kubeconfig: text('kubeconfig'),
    namespace: text('namespace') ?? COMMON.namespace.default,
    text,
    isOn: (flag) => parsed.values[flag] === true,
  };
}

function strictly(args: readonly string[], command: CommandName) {
  try {
    return parseArgs({ args: [...args], options: flagsOf(command), strict: true, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`kubectl aoe ${command}: ${(error as Error).message.replace(/\. To specify a positional.*$/s, '')}`);
  }
}

export function helpText(): string {
  const commands = Object.entries(COMMANDS).map(([name, { words, help }]) => `  ${[name, words].join(' ').trim()}\n      ${help}`);
  return `kubectl aoe: what AoE volumes do, and why not

${commands.join('\n')}

Flags of all commands:
  --context=NAME, --kubeconfig=FILE   which cluster, as for kubectl
  -n, --namespace=NAME                where the chart is installed (${COMMON.namespace.default})
Of status, get, locks, orphans and copies:
  -o, --output=json|yaml

Exit status: 0, 1 when something failed or is not well, 2 for a wrong command line. It reads and writes with your own rights.
`;
}
