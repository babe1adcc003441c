import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits for something, but no longer than for some milliseconds, and only until the signal is aborted. Never rejects because of time or signal.
 * @throws what `done` is rejected with meanwhile
 */
export async function within(ms: number, done: Promise<unknown>, signal?: AbortSignal): Promise<void> {
  const rest = new AbortController();
  const over = delay(ms, undefined, { signal: AbortSignal.any([rest.signal, ...(signal ? [signal] : [])]) }).catch(() => {});
  try {
    await Promise.race([done, over]);
  } finally {
    rest.abort();
  }
}
