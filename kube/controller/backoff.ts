/** Pauses between attempts: doubled each time, and varied by an eighth in both directions so that clients do not act in step. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(firstMs: number, maxMs: number, random: () => number = Math.random) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** The pause before the next attempt, in milliseconds. */
  next(): number {
    const base = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 40));
    this.#failures++;
    return base * (0.875 + this.#random() * 0.25);
  }

  reset(): void {
    this.#failures = 0;
  }
}
