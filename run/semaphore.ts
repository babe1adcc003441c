/**
 * Lets a few tasks run at a time, in the order of the calls; with one place it is a mutex.
 * @example const one = new Semaphore(1); await one.run(() => write(file), signal);
 */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param places tasks that may run at a time */
  constructor(places: number) {
    this.#free = places;
  }

  /**
   * Waits for a place, then runs the task to its end.
   * @throws the signal's reason when it is aborted before the task begins; the task itself must watch the signal
   */
  async run<R>(task: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    await this.#enter(signal);
    try {
      return await task();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal?.reason);
      };
      this.#waiting.push(enter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
    if (!signal?.aborted) return;
    this.#leave();
    throw signal.reason;
  }

  /** The place goes to the next task, or becomes free. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
