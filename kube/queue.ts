const MIN_BACKOFF_MS = 5;
const MAX_BACKOFF_MS = 30_000;

/**
 * Keys that wait for work, after client-go's work queue: a key that is added again while it waits is there once; one that is
 * added while it is worked on is done again afterwards, and never by two at once; one that failed comes back after a pause
 * that doubles each time.
 */
export class WorkQueue {
  readonly #waiting = new Set<string>();
  readonly #processing = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  add(key: string): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) this.#again.add(key);
    else if (!this.#waiting.has(key)) {
      this.#waiting.add(key);
      this.#hand();
    }
  }

  /** Adds the key after a while; of several such wishes the earliest counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    const at = performance.now() + delayMs;
    const present = this.#timers.get(key);
    if (present && present.at <= at) return;
    clearTimeout(present?.timer);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, delayMs);
    this.#timers.set(key, { timer, at });
  }

  /** Adds a key that failed, after its pause. @returns the pause in milliseconds */
  addFailed(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const pause = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures, 30));
    this.addAfter(key, pause);
    return pause;
  }

  /** The key succeeded: its next failure starts with the shortest pause. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, which is ours until done(); undefined when the queue was closed. */
  take(): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#hand();
    });
  }

  done(key: string): void {
    this.#processing.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    for (const take of this.#takers.splice(0)) take(undefined);
  }

  #hand(): void {
    if (this.#closed) for (const take of this.#takers.splice(0)) take(undefined);
    for (const key of this.#waiting) {
      const take = this.#takers.shift();
      if (!take) return;
      this.#waiting.delete(key);
      this.#processing.add(key);
      take(key);
    }
  }
}
