import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { type Child, spawn } from '../../run/spawn.ts';

const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** A process that ran for so long was well: the next one is started soon. */
const WELL_MS = 60_000;

export interface CopierProcessOptions {
  /** The program aoe-copier. */
  program: string;
  /** Unix socket on which it listens. */
  socket: string;
  /** Directory in which it keeps jobs and their progress. */
  state: string;
  log: Pick<Logger, 'info' | 'warn'>;
  start?: (program: string, args: readonly string[]) => Promise<Child>;
  /** Where its log goes. */
  output?: (text: string) => void;
  minBackoffMs?: number;
}

/**
 * Runs the copier as a child of this process, and starts it again when it ends, until the signal aborts. It is killed then: it goes on where
 * it was, as after any crash. It ends with this process, too (`--with-parent`). Never rejects.
 */
export async function runCopier(options: CopierProcessOptions, signal: AbortSignal): Promise<void> {
  const {
    program,
    socket,
    state,
    log,
    start = spawn,
    output = (text) => process.stderr.write(text),
    minBackoffMs = MIN_BACKOFF_MS,
  } = options;
  let backoff = minBackoffMs;
  while (!signal.aborted) {
    const began = performance.now();
    let ended: string;
    try {
      const child = await start(program, ['--state', state, '--socket', socket, '--with-parent']);
      ended = await wait(child, output, signal);
    } catch (error) {
      ended = `it could not be started: ${messageOf(error)}`;
    }
    if (signal.aborted) return;
    backoff = performance.now() - began >= WELL_MS ? minBackoffMs : backoff;
    log.warn({ program, detail: ended }, 'the copier ended, and is started again');
    await delay(backoff, undefined, { signal }).catch(() => {});
    backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
  }
}

/** Until the process has ended. @returns how, for people */
async function wait(child: Child, output: (text: string) => void, signal: AbortSignal): Promise<string> {
  const onAbort = (): void => child.kill();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  for (const stream of [child.stdout, child.stderr])
    stream
      .setEncoding('utf8')
      .on('data', output)
      .on('error', () => {});
  const { code, signal: killedBy } = await child.exited;
  signal.removeEventListener('abort', onAbort);
  child.closeStreams();
  return killedBy ? `it was killed by ${killedBy}` : `exit status ${code}`;
}
