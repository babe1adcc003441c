/** What is waited for. A PersistentVolume goes by the name of its claim. */
export type State = 'claim bound' | 'claim gone' | 'pod ready' | 'pod gone' | 'volume gone';

/** Arrivals of a number of objects at a state. */
export interface Arrivals {
  /** How many were waited for. */
  readonly of: number;
  /** Seconds from the start to the arrival of each that came, the first one first. */
  readonly seconds: readonly number[];
  /** Seconds from the start to the end of waiting. */
  readonly waited: number;
}

/** When each object first reached each state. Names are used once. */
export class Timeline {
  readonly #reached = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  readonly #patienceMs: number;

  /** @param patienceMs how long to wait for the next arrival before those that are missing are given up */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** The object is in this state now. */
  mark(state: State, name: string): void {
    const key = `${state} ${name}`;
    if (this.#reached.has(key)) return;
    this.#reached.set(key, performance.now());
    for (const look of [...this.#waiting]) look();
  }

  /** Waits until all have reached the state, or until none has for as long as patience lasts. Never rejects. */
  reached(state: State, names: readonly string[], startedMs: number): Promise<Arrivals> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      let known = -1;
      const settle = (seconds: readonly number[]) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve({ of: names.length, seconds: seconds.toSorted((a, b) => a - b), waited: (performance.now() - startedMs) / 1000 });
      };
      const look = () => {
        const seconds = names.flatMap((name) => {
          const at = this.#reached.get(`${state} ${name}`);
          return at === undefined ? [] : [(at - startedMs) / 1000];
        });
        if (seconds.length === names.length) return settle(seconds);
        if (seconds.length === known) return;
        known = seconds.length;
        clearTimeout(timer);
        timer = setTimeout(() => settle(seconds), this.#patienceMs);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
