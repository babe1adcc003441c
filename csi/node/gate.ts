/**
 * Lets a few of many through at a time. File operations on a disk can hang for minutes in the kernel, each on one of the
 * four threads that Node has for all of its file I/O: the gate keeps the rest of them free.
 */
export class Gate {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(width: number) {
    this.#free = width;
  }

  /** Runs `work` when there is room. Rejects with the signal's reason when it is aborted, though the work itself goes on. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    aborted.catch(() => {});
    const onAbort = (): void => reject(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#enter(signal), aborted]);
      const working = work().finally(() => this.#leave());
      working.catch(() => {});
      return await Promise.race([working, aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #enter(signal: AbortSignal): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      // The place of one who gave up goes to the next.
      this.#queue.push(() => (signal.aborted ? this.#leave() : resolve()));
    });
  }

  #leave(): void {
    const next = this.#queue.shift();
    if (next) next();
    else this.#free++;
  }
}
