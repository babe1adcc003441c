import { LateError, ThreadGate } from '../../../run/hung/thread-gate.ts';

/** What is done here takes a fraction of a second, also on a slow machine with much to do. */
const LIMIT_MS = 3_000;

/**
 * Does without a program what hardly ever waits for a disk. One is done at a time, and none while one takes too long: a program does the
 * others then.
 */
export class Quick {
  readonly #limitMs: number;
  readonly #gate: ThreadGate;

  /** @param limitMs in milliseconds, for the wait for its turn, too */
  constructor(limitMs = LIMIT_MS) {
    this.#limitMs = limitMs;
    this.#gate = new ThreadGate({ lateMs: limitMs, places: 1 });
  }

  /**
   * @returns undefined when the task did not end in time; it may go on
   * @throws what the task throws, or the signal's reason
   */
  async attempt<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const limit = AbortSignal.timeout(this.#limitMs);
    try {
      return await this.#gate.run({ key: 'disk', doing: 'a quick look', signal: AbortSignal.any([signal, limit]) }, task);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LateError || limit.aborted) return undefined;
      throw error;
    }
  }
}
