const TICK_MS = 10_000;
/** The longest step that counts: a tick may come late. */
const MAX_STEP_MS = 15_000;

/**
 * Counts the milliseconds in which this process could work. Time in which it got no CPU, or in which the machine slept, does not
 * count but for a short step: what did not end then has not hung.
 */
export class AwakeClock {
  readonly #now: () => number;
  readonly #maxStepMs: number;
  #last: number;
  #sum = 0;

  constructor({ now = () => performance.now(), tickMs = TICK_MS, maxStepMs = MAX_STEP_MS } = {}) {
    this.#now = now;
    this.#maxStepMs = maxStepMs;
    this.#last = now();
    setInterval(() => this.now(), tickMs).unref();
  }

  now(): number {
    const now = this.#now();
    this.#sum += Math.min(now - this.#last, this.#maxStepMs);
    this.#last = now;
    return this.#sum;
  }
}
