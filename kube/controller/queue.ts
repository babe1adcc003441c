/** First pause after a failure, and the longest, in milliseconds. */
const FIRST_MS = 5;
const MAX_MS = 30_000;

/** What happens to keys, for metrics. */
export interface QueueEvents {
  added(): void;
  retried(): void;
  /** @param seconds from add() until a worker took the key */
  taken(seconds: number): void;
}

/**
 * A queue of keys to work on, with the rules of client-go's work queue: a key is in it at most once, is never worked on
 * twice at the same time, and is worked on again when it was added meanwhile.
 */
export class WorkQueue {
  readonly #events: QueueEvents | undefined;
  /** Keys that need work, whether waiting or to be taken up again after done(), and since when. */
  readonly #dirty = new Map<string, number>();
  readonly #processing = new Set<string>();
  /** Dirty keys that are not being worked on, in order. */
  readonly #waiting = new Set<string>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  readonly #delayed = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  readonly #failures = new Map<string, number>();
  #closed = false;

  constructor(events?: QueueEvents) {
    this.#events = events;
  }

  /** Keys that wait for a worker. */
  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed || this.#dirty.has(key)) return;
    this.#dirty.set(key, performance.now());
    this.#events?.added();
    if (!this.#processing.has(key)) this.#offer(key);
  }

  /** Adds the key after a pause; of several pauses the one that ends first counts. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = performance.now() + ms;
    const before = this.#delayed.get(key);
    if (before && before.at <= at) return;
    if (before) clearTimeout(before.timer);
    const timer = setTimeout(
      () => {
        this.#delayed.delete(key);
        this.add(key);
      },
      // setTimeout runs at once when given more than 31 bits.
      Math.min(ms, 2 ** 31 - 1),
    );
    this.#delayed.set(key, { timer, at });
  }

  /**
   * Adds the key after a pause that doubles with each call until forget().
   * @returns the pause in milliseconds
   */
  addRateLimited(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#events?.retried();
    const ms = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures, 30));
    this.addAfter(key, ms);
    return ms;
  }

  /** The key's next pause is the shortest again. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, which must be given back with done(); undefined when the queue is closed. */
  take(): Promise<string | undefined> {
    const [key] = this.#waiting;
    if (this.#closed) return Promise.resolve(undefined);
    if (key === undefined) return new Promise((resolve) => this.#takers.push(resolve));
    this.#waiting.delete(key);
    this.#begin(key);
    return Promise.resolve(key);
  }

  done(key: string): void {
    this.#processing.delete(key);
    if (this.#dirty.has(key) && !this.#closed) this.#offer(key);
  }

  /** From now on take() gives undefined. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #offer(key: string): void {
    const taker = this.#takers.shift();
    if (!taker) {
      this.#waiting.add(key);
      return;
    }
    this.#begin(key);
    taker(key);
  }

  #begin(key: string): void {
    this.#events?.taken((performance.now() - (this.#dirty.get(key) ?? 0)) / 1000);
    this.#dirty.delete(key);
    this.#processing.add(key);
  }
}
