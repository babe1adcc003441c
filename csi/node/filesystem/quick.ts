import { Semaphore } from '../../../run/semaphore.ts';

/** What is done here takes a fraction of a second, also on a slow machine with much to do. */
const LIMIT_MS = 3_000;

/**
 * Does without a program what hardly ever waits for a disk. If it waits all the same, it occupies one of the four threads that Node.js has
 * for all file operations: so one is done at a time, and none while one takes too long. A program does the others then.
 */
export class Quick {
  readonly #limitMs: number;
  readonly #one = new Semaphore(1);
  #isLate = false;

  /** @param limitMs in milliseconds, for the wait for its turn, too */
  constructor(limitMs = LIMIT_MS) {
    this.#limitMs = limitMs;
  }

  /**
   * @returns undefined when the task did not end in time; it may go on
   * @throws what the task throws, or the signal's reason
   */
  async attempt<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    if (this.#isLate) return undefined;
    const limit = AbortSignal.timeout(this.#limitMs);
    try {
      return await this.#one.runOrAbandon(() => task().finally(() => this.#ended()), AbortSignal.any([signal, limit]));
    } catch (error) {
      signal.throwIfAborted();
      if (!limit.aborted) throw error;
      this.#isLate = true;
      return undefined;
    }
  }

  #ended(): void {
    this.#isLate = false;
  }
}
