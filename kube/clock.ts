import { setTimeout as delay } from 'node:timers/promises';

/** The time, which tests replace by their own. */
export interface Clock {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** The time of day. */
  date(): Date;
  /** Fulfilled after the time; rejected with the signal's reason. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const CLOCK: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  async sleep(ms, signal) {
    signal.throwIfAborted();
    await delay(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
  },
};
