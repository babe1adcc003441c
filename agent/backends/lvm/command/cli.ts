import { type Exec, type ExecOptions, type ExecResult, stderrOf } from '../../../../run/exec.ts';
import { BackendError } from '../../backend.ts';
import { LvmGroup } from '../group.ts';
import { parseReport, reportArgs, type VolumeGroup } from '../report.ts';
import { failed } from './failed.ts';
import { HungCommands } from './hung-commands.ts';

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
  readonly #groups = new Map<string, LvmGroup>();

  constructor(run: Exec, config: string) {
    this.#commands = new HungCommands(run);
    this.#config = config;
  }

  /** A volume group, which all its pools share. */
  group(name: string): LvmGroup {
    let group = this.#groups.get(name);
    if (!group) {
      group = new LvmGroup(this, name);
      this.#groups.set(name, group);
    }
    return group;
  }

  /**
   * The group with its volumes. Call it in the group's turn.
   * @throws BackendError PoolMissing, PoolNotReady when a command hangs, BackendFailed
   */
  async report(group: string, signal?: AbortSignal): Promise<VolumeGroup> {
    const read = async (volumes: boolean): Promise<VolumeGroup | undefined> => {
      const options = { timeoutMs: REPORT_LIMIT_MS, signal };
      const { stdout } = await this.#commands.run(group, 'vgs', ['--config', this.#config, ...reportArgs(group, { volumes })], options);
      return parseReport(stdout);
    };
    try {
      const found = (await read(true)) ?? (await read(false));
      if (found) return found;
    } catch (error) {
      signal?.throwIfAborted();
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

  /**
   * Runs a program that is not one of LVM's, such as dmsetup, on devices of a group.
   * @throws Error of `Exec`; BackendError PoolNotReady when a command hangs
   */
  program(group: string, program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
    return this.#commands.run(group, program, args, options);
  }
}
