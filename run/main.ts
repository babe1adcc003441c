import { type Config, commandLine, type Environment, environment, type Flags, helpText, oneOf, parseFlags, UsageError } from './config.ts';
import { createLog, LEVELS, type Logger } from './log.ts';

export interface Program<F extends Flags> {
  readonly config: Config<F>;
  /** Words of the command line that are no flags, such as `controller`. */
  readonly words: readonly string[];
  readonly env: Environment;
  readonly log: Logger;
  /** Aborted by SIGTERM and SIGINT: end what is under way, then return. */
  readonly signal: AbortSignal;
}

/** How long a program may take to end, in milliseconds: less than the 30 s after which Kubernetes kills it. */
const GRACE_MS = 10_000;

const COMMON = {
  'log-level': {
    default: 'info',
    help: `how much is logged: ${LEVELS.join(', ')}`,
    parse: oneOf(LEVELS),
  },
} as const satisfies Flags;

/** Runs a program until it returns, fails, or gets SIGTERM or SIGINT. Then the process exits: with 0, with 1, or with 2 for a wrong command line. */
export async function main<F extends Flags>(
  name: string,
  flags: F,
  program: (context: Program<F>) => Promise<void>,
  { graceMs = GRACE_MS }: { graceMs?: number } = {},
): Promise<void> {
  const args = commandLine();
  const all = { ...flags, ...COMMON };
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(helpText(name, all));
    return;
  }
  let parsed: { config: Config<F & typeof COMMON>; words: string[] };
  try {
    parsed = parseFlags(all, args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exit(2);
  }
  const log = createLog(name, String(parsed.config['log-level']));
  const stop = new AbortController();
  const end = (signal: string) => {
    log.info({ signal }, 'ending');
    stop.abort(new Error(`${name} is ending`));
    setTimeout(() => {
      log.error({ limitMs: graceMs }, 'the program did not end in time');
      process.exit(1);
    }, graceMs).unref();
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  const fail = (error: unknown) => {
    log.fatal({ error }, 'the program failed');
    process.exit(1);
  };
  process.on('unhandledRejection', fail);
  process.on('uncaughtException', fail);
  try {
    await program({ config: parsed.config, words: parsed.words, env: environment(), log, signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted) return fail(error);
    if (error !== stop.signal.reason) log.warn({ error }, 'the program failed while it ended');
  }
  process.exit(0);
}
