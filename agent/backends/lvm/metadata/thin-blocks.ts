import { stderrOf } from '../../../../run/exec.ts';
import { pull } from '../../../../run/pull.ts';
import { BackendError } from '../../backend.ts';
import type { Blocks, Range, Ranges } from '../../blocks.ts';
import { failed } from '../command/failed.ts';
import type { LvmGroup } from '../group.ts';
import type { LogicalVolume } from '../report.ts';
import { isOfTheCommand, snapshotNameOf } from '../snapshot-names.ts';
import { isRootHeld, poolDevices } from './held-root.ts';
import { type Document, MappingsReader } from './mappings.ts';

/**
 * How long one reader may keep the metadata snapshot: while it is there, the pool's metadata frees no blocks, and other readers wait. Who
 * is cut off goes on at the offset that it has reached.
 */
const HOLD_MS = 5 * 60_000;
const MESSAGE_MS = 20_000;

export interface ThinBlocksOptions {
  group: LvmGroup;
  thinPool: string;
  /** A whole snapshot of ours in a report. */
  find: (volumes: readonly LogicalVolume[], uid: string) => LogicalVolume | undefined;
}

/**
 * The blocks of thin snapshots, from the metadata of the thin pool. The kernel holds a copy of its root for us while
 * thin-provisioning-tools read it. There is one such metadata snapshot in a pool: readers take turns, in the order in which they come. One
 * that is found before our own was left by a crash, and is released. The pool's metadata snapshot belongs to this program.
 */
export class ThinBlocks implements Blocks {
  readonly #options: ThinBlocksOptions;

  constructor(options: ThinBlocksOptions) {
    this.#options = options;
  }

  allocated(uid: string, _from: number, signal: AbortSignal): Ranges {
    return this.#read([uid], signal, ([device = 0]) => ({
      program: 'thin_dump',
      args: ['--metadata-snap', '--dev-id', String(device)],
      document: { device },
    }));
  }

  changed(baseUID: string, uid: string, _from: number, signal: AbortSignal): Ranges {
    return this.#read([baseUID, uid], signal, ([base, target]) => ({
      program: 'thin_delta',
      args: ['--metadata-snap', '--thin1', String(base), '--thin2', String(target)],
      document: 'delta',
    }));
  }

  async recover(signal: AbortSignal): Promise<void> {
    const { group, thinPool } = this.#options;
    await group.metadataTurn(thinPool, () => this.#release(signal), signal);
  }

  #read(
    uids: readonly string[],
    signal: AbortSignal,
    commandOf: (devices: readonly number[]) => { program: string; args: string[]; document: Document },
  ): Ranges {
    const { group, thinPool } = this.#options;
    const work = async (push: (ranges: Range[]) => Promise<void>, stop: AbortSignal): Promise<Range[]> => {
      try {
        const { program, args, document } = commandOf(await group.turn(() => this.#reserve(uids, stop), stop));
        const reader = new MappingsReader(document);
        const onOutput = async (text: string): Promise<void> => {
          const ranges = reader.add(text);
          if (ranges.length > 0) await push(ranges);
        };
        const { metadata } = poolDevices(group.name, thinPool);
        await group.program(program, [...args, metadata], { timeoutMs: HOLD_MS, signal: stop, onOutput });
        return reader.end();
      } catch (error) {
        if (stop.aborted || error instanceof BackendError) throw error;
        throw failed(`reading the metadata of thin pool ${group.pathOf(thinPool)}`, error);
      } finally {
        // Also for a caller who has gone. When it fails, the next reader releases it first.
        await this.#release(new AbortController().signal).catch(() => {});
      }
    };
    return pull<Range[]>(async (push, stop) => {
      const last = await group.metadataTurn(thinPool, () => work(push, stop), stop);
      // Only now: a reader that takes nothing more must not keep the metadata snapshot, which has no limit once the program has ended.
      if (last.length > 0) await push(last);
    }, signal);
  }

  /** Lets the kernel hold the metadata as it is now. Call it in the group's turn. @returns the devices' numbers in the pool */
  async #reserve(uids: readonly string[], signal: AbortSignal): Promise<number[]> {
    const { group, thinPool, find } = this.#options;
    const { volumes } = await group.report(signal);
    const devices = uids.map((uid) => {
      const volume = find(volumes, uid);
      if (!volume) throw new BackendError('SnapshotLost', `logical volume ${group.pathOf(snapshotNameOf(uid))} is not there`);
      if (volume.thinId === undefined)
        throw new BackendError('BackendFailed', `LVM does not tell the thin_id of ${group.pathOf(volume.name)}`);
      return volume.thinId;
    });
    let held = await this.#isHeld(signal);
    if (held === undefined) {
      // With all of its volumes inactive, the pool is, too.
      await group.change('lvchange', ['--activate', 'y', group.pathOf(thinPool)]);
      held = await this.#isHeld(signal);
    }
    const name = `thin pool ${group.pathOf(thinPool)}`;
    if (held === undefined)
      throw new BackendError('PoolNotReady', `${name} has failed, or cannot be activated: see lvmthin(7), "check and repair"`);
    if (held) await this.#message('release_metadata_snap');
    await this.#message('reserve_metadata_snap');
    return devices;
  }

  /** Releases a metadata snapshot, whoever reserved it. A pool that is not active is looked at again later, or before its next reader. */
  async #release(signal: AbortSignal): Promise<void> {
    await this.#options.group.turn(async () => {
      if ((await this.#isHeld(signal)) === true) await this.#message('release_metadata_snap');
    }, signal);
  }

  /** Whether the kernel holds a metadata snapshot; undefined when the pool is not active, or has failed. */
  async #isHeld(signal: AbortSignal): Promise<boolean | undefined> {
    const { group, thinPool } = this.#options;
    try {
      const { stdout } = await group.program('dmsetup', ['status', poolDevices(group.name, thinPool).pool], {
        timeoutMs: MESSAGE_MS,
        signal,
      });
      return isRootHeld(stdout);
    } catch (error) {
      if (isOfTheCommand(error) && /does not exist|not found|no such device/i.test(stderrOf(error))) return undefined;
      throw error;
    }
  }

  async #message(message: string): Promise<void> {
    const { group, thinPool } = this.#options;
    await group.program('dmsetup', ['message', poolDevices(group.name, thinPool).pool, '0', message], { timeoutMs: MESSAGE_MS });
  }
}
