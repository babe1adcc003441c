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
