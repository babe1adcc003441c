/** Lets changes gather that nobody waits for, so that one write has them all. */
export class WriteDelay {
  readonly #ms: number;
  readonly #now: () => number;
  readonly #due = new Map<string, number>();

  /** @param ms for how long changes gather; 0: each is written at once */
  constructor(ms: number, now: () => number = () => performance.now()) {
    this.#ms = ms;
    this.#now = now;
  }

  /** Milliseconds until the changes of an object are to be written, counted from the first call for them; 0: now. */
  left(key: string): number {
    const due = this.#due.get(key) ?? this.#now() + this.#ms;
    this.#due.set(key, due);
    return Math.max(0, Math.ceil(due - this.#now()));
  }

  /** The changes of an object were written, or there are none. */
  clear(key: string): void {
    this.#due.delete(key);
  }
}
