import { setTimeout as delay } from 'node:timers/promises';

export interface LoopOptions {
  /** Pause after a pass, in milliseconds, unless the pass gives another. */
  readonly everyMs: number;
  /** The share by which each pause of `everyMs` is made longer or shorter at random, so that nodes do not move in step. Default 0. */
  readonly jitter?: number;
  /** Ends the loop. */
  readonly signal: AbortSignal;
  /** Called with the error of a pass that failed, unless the loop is ending. May give the pause in milliseconds. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing fits, too
  readonly failed: (error: unknown) => number | undefined | void;
}

/**
 * Does something again and again, with a pause between, until the signal is aborted. Never rejects.
 * @param pass one round; may give the pause until the next one, in milliseconds
 * @example await loop((stop) => sweep(stop), { everyMs: 60_000, jitter: 0.25, signal, failed: (error) => log.warn({ error }, 'sweep failed') });
 */
export async function loop(
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing fits, too
  pass: (signal: AbortSignal) => Promise<number | undefined | void>,
  { everyMs, jitter = 0, signal, failed }: LoopOptions,
): Promise<void> {
  while (!signal.aborted) {
    // biome-ignore lint/suspicious/noConfusingVoidType: as above
    let pauseMs: number | undefined | void;
    try {
      pauseMs = await pass(signal);
    } catch (error) {
      if (signal.aborted) return;
      pauseMs = failed(error);
    }
    const ms = pauseMs ?? everyMs * (1 + jitter * (2 * Math.random() - 1));
    await delay(ms, undefined, { signal }).catch(() => {});
  }
}
