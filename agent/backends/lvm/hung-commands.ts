import { setTimeout as delay } from 'node:timers/promises';
import type { Exec, ExecOptions, ExecResult } from '../../../run/exec.ts';
import { BackendError } from '../backend.ts';

/** A process that was killed ends within this time, in milliseconds, unless it waits in the kernel. */
const KILL_MS = 1_000;

interface Hung {
  group: string;
  command: string;
  since: string;
}

/**
 * Starts commands, but none in a volume group while an earlier one of that group was killed at its limit and has not ended. It waits
 * in the kernel for a disk that does not answer (state D), and so would the next one: each would stay as a process that holds LVM's locks.
 * What an agent process before this one has started is not known.
 */
export class HungCommands {
  readonly #run: Exec;
  readonly #killMs: number;
  /** Commands that were killed and have not ended, in the order in which they were killed. */
  readonly #hung = new Set<Hung>();

  constructor(run: Exec, { killMs = KILL_MS }: { killMs?: number } = {}) {
    this.#run = run;
    this.#killMs = killMs;
  }

  /**
   * Runs a command.
   * @param group name of the volume group
   * @throws Error of `Exec`; BackendError PoolNotReady while a command of the group hangs
   */
  async run(group: string, program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
    this.#check(group);
    const hung: Hung = { group, command: `${program} ${args.at(-1) ?? ''}`.trim(), since: new Date().toISOString() };
    let ended: Promise<void> | undefined;
    const onKilled = (end: Promise<void>): void => {
      this.#hung.add(hung);
      ended = end.then(() => void this.#hung.delete(hung));
    };
    try {
      return await this.#run(program, args, { ...options, onKilled });
    } catch (error) {
      if (!ended || options.signal?.aborted) throw error;
      const rest = new AbortController();
      await Promise.race([ended, delay(this.#killMs, undefined, { signal: rest.signal }).catch(() => {})]);
      rest.abort();
      this.#check(group, error);
      throw error;
    }
  }

  #check(group: string, cause?: unknown): void {
    const hung = [...this.#hung].find((each) => each.group === group);
    if (!hung) return;
    throw new BackendError(
      'PoolNotReady',
      `volume group ${group}: command "${hung.command}", started at ${hung.since}, hangs and cannot be killed, so no other is started in ` +
        'this group until it ends: look in the kernel log (dmesg) for a disk of the group that does not answer, and for a suspended device (dmsetup info)',
      { cause },
    );
  }
}
