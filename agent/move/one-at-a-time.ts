/** Runs tasks of one key one after the other, in the order in which they came. */
export class OneAtATime {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs the task once those that came before have ended, however they ended. */
  async run<R>(key: string, task: () => Promise<R>): Promise<R> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(task);
    const tail = result.then(
      () => {},
      () => {},
    );
    this.#tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
