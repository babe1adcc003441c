/** A program was killed. */
class Killed extends Error {}

/** The life of a process: it ends at one of its calls to others, and no later call has an effect. */
export class Life {
  readonly #stop = new AbortController();
  #callsLeft = Number.POSITIVE_INFINITY;
  #hasEffect = true;
  #isOver = false;

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** @param hasEffect whether the call at which it ends still has its effect, although nobody gets the answer */
  endAfter(calls: number, hasEffect: boolean): void {
    this.#callsLeft = calls;
    this.#hasEffect = hasEffect;
  }

  /** The object with these methods as calls of this process. */
  wrap<T extends object, K extends keyof T & string>(object: T, methods: K[]): Pick<T, K> {
    const wrapped = methods.map((method) => [
      method,
      async (...args: unknown[]) => {
        if (this.#isOver) throw new Killed();
        this.#callsLeft--;
        if (this.#callsLeft < 0) {
          this.#isOver = true;
          if (this.#hasEffect) await (object[method] as (...args: unknown[]) => Promise<unknown>).apply(object, args).catch(() => {});
          throw new Killed();
        }
        return await (object[method] as (...args: unknown[]) => Promise<unknown>).apply(object, args);
      },
    ]);
    return Object.fromEntries(wrapped) as Pick<T, K>;
  }
}
