import type { Exec, ExecOptions, ExecResult } from '../exec.ts';
import { within } from '../within.ts';

/** A process that was killed ends within this time, in milliseconds, unless it waits in the kernel. A busy machine needs longer than a moment. */
const KILL_MS = 3_000;

/** A program that was killed and has not ended. */
export interface HungProgram {
  readonly program: string;
  readonly args: readonly string[];
  /** When it was started, as an ISO 8601 time. */
  readonly since: string;
}

export interface HungProgramsOptions {
  /** Makes the error for a program that is not started. `cause` is the error of the hung one, when that was just killed. */
  readonly refuse: (key: string, hung: HungProgram, cause?: unknown) => Error;
  readonly killMs?: number;
}

/**
 * Starts programs, but none of a key while an earlier one of that key was killed at its limit and has not ended. It waits in the kernel
 * for a disk that does not answer (state D), and so would the next one: each would stay as a process, and act when the disk answers.
 * What a process before this one has started is not known.
 */
export class HungPrograms {
  readonly #run: Exec;
  readonly #refuse: HungProgramsOptions['refuse'];
  readonly #killMs: number;
  /** Programs that were killed and have not ended, in the order in which they were killed. */
  readonly #hung = new Map<HungProgram, { key: string; ended: Promise<void>; killedAt: number }>();

  constructor(run: Exec, { refuse, killMs = KILL_MS }: HungProgramsOptions) {
    this.#run = run;
    this.#refuse = refuse;
    this.#killMs = killMs;
  }

  /**
   * Runs a program. One that was just killed, because its caller no longer needs it, gets a moment to end first.
   * @throws Error of `Exec`; that of `refuse` while a program of the key hangs
   */
  async run(key: string, program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
    await this.#ending(key, options.signal);
    this.check(key);
    const hung: HungProgram = { program, args, since: new Date().toISOString() };
    let isKilled = false;
    const onKilled = (end: Promise<void>): void => {
      isKilled = true;
      const ended = end.then(() => void this.#hung.delete(hung));
      this.#hung.set(hung, { key, ended, killedAt: performance.now() });
      options.onKilled?.(end);
    };
    try {
      return await this.#run(program, args, { ...options, onKilled });
    } catch (error) {
      if (!isKilled || options.signal?.aborted) throw error;
      await this.#ending(key, options.signal);
      this.check(key, error);
      throw error;
    }
  }

  /** Waits until the killed programs of a key have ended, or have had their time for that. */
  async #ending(key: string, signal: AbortSignal | undefined): Promise<void> {
    for (const { key: other, ended, killedAt } of this.#hung.values()) {
      const leftMs = killedAt + this.#killMs - performance.now();
      if (other !== key || leftMs <= 0) continue;
      await within(leftMs, ended, signal);
      signal?.throwIfAborted();
    }
  }

  /** @throws the error of `refuse` while a program of the key hangs */
  check(key: string, cause?: unknown): void {
    for (const [hung, { key: other }] of this.#hung) if (other === key) throw this.#refuse(key, hung, cause);
  }
}
