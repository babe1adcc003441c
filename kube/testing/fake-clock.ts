import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';

/** The clock of a machine. Its time goes on while the machine is stopped, but nothing that sleeps there wakes. */
export interface MachineClock extends Clock {
  isStopped: boolean;
}

/** Time that passes only when the test says so; several clocks may run at different speeds by their `rate`. */
export class FakeClock {
  #now = 0;
  readonly #sleepers = new Set<{ at: number; machine: MachineClock; wake: () => void }>();

  /** The clock of one machine, which started at another time and may be wrong by a factor. */
  machine(offset = 0, rate = 1): MachineClock {
    const machine: MachineClock = {
      isStopped: false,
      now: () => offset + this.#now * rate,
      date: () => new Date(offset + this.#now * rate),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal.aborted) return reject(signal.reason);
          const entry = { at: this.#now + ms / rate, machine, wake: () => {} };
          const onAbort = (): void => {
            this.#sleepers.delete(entry);
            reject(signal.reason);
          };
          entry.wake = () => {
            signal.removeEventListener('abort', onAbort);
            resolve();
          };
          signal.addEventListener('abort', onAbort, { once: true });
          this.#sleepers.add(entry);
        }),
    };
    return machine;
  }

  get now(): number {
    return this.#now;
  }

  /** Lets time pass. Sleepers wake in order, and each can act before the next one wakes. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = [...this.#sleepers].filter(({ at, machine }) => at <= end && !machine.isStopped).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      this.#sleepers.delete(next);
      next.wake();
      await settle();
    }
    this.#now = end;
  }
}

/** Waits until everything that does not wait for time has run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await turn();
}
