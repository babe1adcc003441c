import { setTimeout as delay } from 'node:timers/promises';
import type { Exec, ExecOptions, ExecResult } from './exec.ts';

/** A process that was killed ends within this time, in milliseconds, unless it waits in the kernel. */
const KILL_MS = 1_000;

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
  /** In the order in which they were killed. */
  readonly #hung = new Map<HungProgram, string>();

  constructor(run: Exec, { refuse, killMs = KILL_MS }: HungProgramsOptions) {
    this.#run = run;
    this.#refuse = refuse;
    this.#killMs = killMs;
  }

  /**
   * Runs a program.
   * @throws Error of `Exec`; that of `refuse` while a program of the key hangs
   */
  async run(key: string, program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
    this.check(key);
    const hung: HungProgram = { program, args, since: new Date().toISOString() };
    let ended: Promise<void> | undefined;
    const onKilled = (end: Promise<void>): void => {
      this.#hung.set(hung, key);
      ended = end.then(() => void this.#hung.delete(hung));
      options.onKilled?.(end);
    };
    try {
      return await this.#run(program, args, { ...options, onKilled });
    } catch (error) {
      if (!ended || options.signal?.aborted) throw error;
      const rest = new AbortController();
      await Promise.race([ended, delay(this.#killMs, undefined, { signal: rest.signal }).catch(() => {})]);
      rest.abort();
      this.check(key, error);
      throw error;
    }
  }

  /** @throws the error of `refuse` while a program of the key hangs */
  check(key: string, cause?: unknown): void {
    for (const [hung, other] of this.#hung) if (other === key) throw this.#refuse(key, hung, cause);
  }
}
