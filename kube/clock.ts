import { setTimeout as delay } from 'node:timers/promises';

/** Time, so that tests can have their own. */
export interface Clock {
  /** Monotonic, milliseconds. */
  now(): number;
  /** For people and other machines. */
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
