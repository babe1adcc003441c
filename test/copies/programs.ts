import type { Life } from './life.ts';

/** A process of a program, and what it does each time when it has something to do. */
export interface Process {
  readonly life: Life;
  readonly round: () => Promise<void>;
}

/** Programs of a world. Each is started when it has something to do, and again after it was killed. */
export class Programs<P extends string> {
  /** What went wrong in programs that were not killed. */
  readonly errors: unknown[] = [];
  readonly #start: (program: P) => Process | Promise<Process>;
  readonly #running = new Map<P, Process>();

  constructor(start: (program: P) => Process | Promise<Process>) {
    this.#start = start;
  }

  /** Reconciles what a program has to, once. It dies after so many calls, and is a new process then. @returns whether it lives */
  async round(program: P, callsLeft = Number.POSITIVE_INFINITY, hasEffect = true): Promise<boolean> {
    const process = this.#running.get(program) ?? (await this.#start(program));
    this.#running.set(program, process);
    process.life.endAfter(callsLeft, hasEffect);
    await process.round().catch((error: unknown) => process.life.isOver || this.errors.push(error));
    if (process.life.isOver) this.#running.delete(program);
    return !process.life.isOver;
  }
}
