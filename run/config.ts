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

/** A wrong command line: the message lists all that is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Reads flags from a command line. Words that are no flags, such as `controller`, are left to the program.
 * @throws UsageError
 * @example parseFlags({ http: { type: 'string', default: ':9808', help: 'address' } }, ['--http=:1']).config.http === ':1'
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
  const config: Record<string, string> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const value = given.get(name) ?? flag.default;
    config[name] = value;
    const wrong = flag.check?.(value);
    if (wrong) problems.push(`--${name}: ${wrong}`);
  }
  if (problems.length > 0) throw new UsageError(`${problems.join('; ')} (--help lists the flags)`);
  return { config: config as Config<F>, words };
}

export function helpText(program: string, flags: Flags): string {
  const lines = Object.entries(flags).map(([name, flag]) => `  --${name}=${flag.default === '' ? '…' : flag.default}\n      ${flag.help}`);
  return `${program}\n\n${lines.join('\n')}\n`;
}

/** The command line of this process, without the interpreter and the program. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** What the chart puts into the environment: NODE_NAME, POD_NAME, POD_NAMESPACE. An empty one counts as absent. */
export function environment(): Environment {
  const { NODE_NAME, POD_NAME, POD_NAMESPACE } = process.env;
  return { nodeName: NODE_NAME || undefined, podName: POD_NAME || undefined, podNamespace: POD_NAMESPACE || undefined };
}

/** The environment for programs that we start: as ours, but what they print is in no human's language but English. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C' };
}
