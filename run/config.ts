import { parseArgs } from 'node:util';

/** A flag of a program: `--name=value`. */
export interface Flag {
  readonly default: string;
  /** One line for --help. */
  readonly help: string;
  /**
   * Makes the value that the program gets. Default: the text itself.
   * @throws Error that says what is wrong with the text
   */
  readonly parse?: (text: string) => unknown;
}

export type Flags = Readonly<Record<string, Flag>>;
/** The values of flags. */
export type Config<F extends Flags> = {
  readonly [K in keyof F]: F[K] extends { readonly parse: (text: string) => infer V } ? V : string;
};

/** What a pod learns about itself from its environment. */
export interface Environment {
  readonly nodeName: string | undefined;
  readonly podName: string | undefined;
  readonly podNamespace: string | undefined;
}

/** A wrong command line: the message lists all that is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Reads flags from a command line. Other words, such as `controller`, are returned as they are.
 * @throws UsageError
 * @example parseFlags({ silence: { default: '300', help: 'seconds', parse: seconds } }, ['--silence=5']).config.silence === 5000
 */
export function parseFlags<F extends Flags>(flags: F, args: readonly string[]): { config: Config<F>; words: string[] } {
  const problems: string[] = [];
  const options = Object.fromEntries(Object.keys(flags).map((name) => [name, { type: 'string' as const }]));
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  const given = new Map<string, string>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    // In `--a --b=1`, the second is not meant to be the value of the first.
    const swallowed = !inlineValue && value?.startsWith('--');
    if (!Object.hasOwn(flags, name) || rawName !== `--${name}`) problems.push(`there is no flag ${rawName}`);
    else if (value === undefined || swallowed) problems.push(`${rawName} needs a value: ${rawName}=VALUE`);
    else if (given.has(name)) problems.push(`${rawName} is given twice`);
    else given.set(name, value);
  }
  const config: Record<string, unknown> = {};
  for (const [name, { parse = String, default: absent }] of Object.entries(flags)) {
    try {
      config[name] = parse(given.get(name) ?? absent);
    } catch (error) {
      problems.push(`--${name}: ${(error as Error).message}`);
    }
  }
  if (problems.length > 0) throw new UsageError(`${problems.join('; ')} (--help lists the flags)`);
  return { config: config as Config<F>, words };
}

/**
 * For `parse` of a flag: a number of seconds, such as `300` or `0.5`, as milliseconds.
 * @throws RangeError
 */
export function seconds(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new RangeError(`"${text}" is not a number of seconds above 0`);
  return value * 1000;
}

/** For `parse` of a flag: one of these words. */
export function oneOf<W extends string>(words: readonly W[]): (text: string) => W {
  return (text) => {
    const word = words.find((each) => each === text);
    if (word === undefined) throw new RangeError(`"${text}" is not one of ${words.join(', ')}`);
    return word;
  };
}

export function helpText(program: string, flags: Flags): string {
  const lines = Object.entries(flags).map(([name, flag]) => `  --${name}=${flag.default === '' ? '…' : flag.default}\n      ${flag.help}`);
  return `${program}\n\n${lines.join('\n')}\n`;
}

/** The command line of this process, without the interpreter and the program. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** NODE_NAME, POD_NAME and POD_NAMESPACE, which the chart sets. An empty one counts as absent. */
export function environment(): Environment {
  const { NODE_NAME, POD_NAME, POD_NAMESPACE } = process.env;
  return { nodeName: NODE_NAME || undefined, podName: POD_NAME || undefined, podNamespace: POD_NAMESPACE || undefined };
}

/** The environment for programs that we start: as ours, but their messages are in English. */
export const TOOL_ENVIRONMENT: Readonly<NodeJS.ProcessEnv> = { ...process.env, LC_ALL: 'C' };
