import { messageOf } from '../../../kube/mod.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { BackendError } from '../backend.ts';
import { HungCommands } from './hung-commands.ts';
import { parseReport, reportArgs, type VolumeGroup } from './report.ts';

const REPORT_LIMIT_MS = 20_000;
/** Long, because a command that is killed half-way may leave a device suspended: the limit is for commands that hang. */
const CHANGE_LIMIT_MS = 120_000;

/**
 * Runs LVM's commands with our own configuration, one at a time per volume group: LVM locks a group anyway, and waiting here
 * costs no process. While a command that was killed has not ended, no other is started in its group.
 */
export class LvmCli {
  readonly #commands: HungCommands;
  readonly #config: string;
  readonly #groups = new Map<string, Semaphore>();

  constructor(run: Exec, config: string) {
    this.#commands = new HungCommands(run);
    this.#config = config;
  }

  /** Gives the turns of a volume group, which all its pools share. */
  mutex(group: string): Semaphore {
    let mutex = this.#groups.get(group);
    if (!mutex) {
      mutex = new Semaphore(1);
      this.#groups.set(group, mutex);
    }
    return mutex;
  }

  /**
   * The group with its volumes. Call it in the group's turn.
   * @throws BackendError PoolMissing, PoolNotReady when a command hangs, BackendFailed
   */
  async report(group: string, signal: AbortSignal): Promise<VolumeGroup> {
    const read = async (volumes: boolean): Promise<VolumeGroup | undefined> => {
      const options = { timeoutMs: REPORT_LIMIT_MS, signal };
      const { stdout } = await this.#commands.run(group, 'vgs', ['--config', this.#config, ...reportArgs(group, { volumes })], options);
      return parseReport(stdout);
    };
    try {
      const found = (await read(true)) ?? (await read(false));
      if (found) return found;
    } catch (error) {
      signal.throwIfAborted();
      if (!/volume group "?[^"]*"? not found/i.test(stderrOf(error))) throw failed(`reading volume group ${group}`, error);
    }
    throw new BackendError(
      'PoolMissing',
      `volume group ${group} is not on this node: create it (vgcreate ${group} /dev/…), or change the pool's nodeSelector`,
    );
  }

  /**
   * Runs a command that changes something. It is not killed when the agent ends, and it is quiet: writing into a pipe that
   * nobody reads any more would end it half-way. Call it in the group's turn.
   * @throws Error of `Exec`; BackendError PoolNotReady when a command hangs
   */
  async change(group: string, command: string, args: string[]): Promise<void> {
    await this.#commands.run(group, command, ['--config', this.#config, '--yes', '--quiet', ...args], { timeoutMs: CHANGE_LIMIT_MS });
  }
}

/** A BackendError for the failure of an LVM command, with what LVM printed. A BackendError stays as it is. */
export function failed(doing: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const words = stderrOf(error)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('WARNING'));
  const reason = words.length > 0 ? words.join('; ') : messageOf(error);
  return new BackendError('BackendFailed', `${doing}: ${reason}`, { cause: error });
}
