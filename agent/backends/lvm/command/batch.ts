import { setImmediate as tick } from 'node:timers/promises';
import type { Turns } from './turns.ts';

/** From this many waiting items on, their command is queued like any other. */
const URGENT_AT = 8;
/** Most items for one command, because a command has a time limit. */
const MOST = 16;

/** An item that waits for a command. Exactly one of the two functions is to be called. */
export interface Pending<T> {
  readonly item: T;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

/** Gathers items until the turn comes: one command carries out all that wait then. */
export class Batch<T> {
  readonly #turns: Turns;
  readonly #carryOut: (items: readonly Pending<T>[]) => Promise<void>;
  readonly #waiting: Pending<T>[] = [];

  /** @param carryOut is called in the turn, with one item or more; those that it has neither done nor failed fail when it throws */
  constructor(turns: Turns, carryOut: (items: readonly Pending<T>[]) => Promise<void>) {
    this.#turns = turns;
    this.#carryOut = carryOut;
  }

  /**
   * Fulfilled when the item was carried out.
   * @throws the signal's reason when it is aborted while the item waits: then it is not carried out
   */
  async add(item: T, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const pending: Pending<T> = { item, done: resolve, fail: reject };
    const onAbort = (): void => {
      const at = this.#waiting.indexOf(pending);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.push(pending);
    if (this.#waiting.length === 1) this.#schedule({ isPatient: true });
    if (this.#waiting.length === URGENT_AT) this.#schedule({ isPatient: false });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #schedule({ isPatient }: { isPatient: boolean }): void {
    void this.#turns.run(() => this.#next(), { isPatient });
  }

  async #next(): Promise<void> {
    // Those that come at the same moment belong together, even when the turn was free.
    await tick();
    const items = this.#waiting.splice(0, MOST);
    if (this.#waiting.length > 0) this.#schedule({ isPatient: false });
    if (items.length === 0) return;
    try {
      await this.#carryOut(items);
    } catch (error) {
      for (const { fail } of items) fail(error);
    }
  }
}
