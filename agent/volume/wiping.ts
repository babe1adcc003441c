import type { WipeProgress } from '../backends/backend.ts';

/** The wipe of a new volume that is under way. */
export interface Wiping extends WipeProgress {
  /** Milliseconds until its end, at the rate so far; undefined while there is none. */
  remainingMs: number | undefined;
}

/** Follows the wipe of a volume. */
export class WipeMeter {
  readonly #now: () => number;
  #begun: { zeroed: number; at: number } | undefined;
  #latest: WipeProgress | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The wipe has begun, or has come so far. */
  note(progress: WipeProgress): void {
    this.#begun ??= { zeroed: progress.zeroed, at: this.#now() };
    this.#latest = progress;
  }

  /** The wipe has ended, however it did. */
  end(): void {
    this.#begun = undefined;
    this.#latest = undefined;
  }

  /** Undefined when no wipe is under way. */
  get state(): Wiping | undefined {
    if (!this.#begun || !this.#latest) return undefined;
    const { zeroed, bytes } = this.#latest;
    const done = zeroed - this.#begun.zeroed;
    const remainingMs = done > 0 ? ((this.#now() - this.#begun.at) / done) * (bytes - zeroed) : undefined;
    return { zeroed, bytes, remainingMs };
  }
}
