/** Runs one task at a time, in the order of the calls. A task that throws does not stop the next one. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  /** Waits for its turn, then runs the task. An abort before the turn comes rejects with the signal's reason. */
  run<R>(task: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    const turn = this.#tail.then(() => {
      signal?.throwIfAborted();
      return task();
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

/** Runs so many tasks at a time, in the order of the calls. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Waits for its turn, then runs the task. An abort before the turn comes rejects with the signal's reason. */
  async run<R>(task: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      signal?.throwIfAborted();
      return await task();
    } finally {
      // The place goes to the next in line, or is free.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
