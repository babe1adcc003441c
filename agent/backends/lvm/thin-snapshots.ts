import {
  BackendError,
  type BackingSnapshot,
  type CreateRequest,
  checkUid,
  type Instant,
  type PreparedSnapshot,
  roundUp,
  type Serial,
  type SnapshotRequest,
  type Snapshots,
} from '../backend.ts';
import { takeSnapshot } from '../take-snapshot.ts';
import { failed } from './command/failed.ts';
import type { LvmGroup } from './group.ts';
import { sizeArg } from './linear.ts';
import { ThinBlocks } from './metadata/thin-blocks.ts';
import { checkMetadata } from './metadata-area.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import {
  isHalf,
  isOfTheCommand,
  isSnapshot,
  setActive,
  snapshotNameOf,
  snapshotUidOf,
  TAG_CREATED,
  TAG_ORIGIN,
  TAG_SNAPSHOT,
} from './snapshot-names.ts';
import { PREFIX, TAG, TAG_CLEAN, TAG_NEW, TAG_POOL, TAG_RETAINED, TAG_VOLUME, tagged } from './tags.ts';
import { exportedBytes, notedTail, tailFor, tailTags } from './tail.ts';

/** Bytes that it can come to take: those that the volume had written. */
const TAG_RESERVES = 'aoe.dev/reserves=';
/** How old a report may be for what is in it: our own changes are included at once. */
const FRESH_MS = 30_000;
/** LVM rounds data_percent to two places. */
export const PERCENT_ERROR = 0.01;

export interface ThinSnapshotsOptions {
  group: LvmGroup;
  /** Name of the AoEPool. */
  pool: string;
  thinPool: string;
  /** Refuses when the thin pool is not ready, or when a volume of so many bytes could fill it. @throws BackendError */
  admit: (group: VolumeGroup, bytes: number) => void;
  /** Refuses when a snapshot that keeps so many bytes could fill the thin pool, or its metadata. @throws BackendError */
  admitSnapshot: (group: VolumeGroup, bytes: number) => void;
  /** Makes a new volume of a snapshot clean behind the snapshot's data. @throws BackendError */
  finish: (volumeUID: string, signal: AbortSignal) => Promise<void>;
}

/**
 * Thin snapshots: inactive logical volumes in the thin pool of their volume. They have TAG_NEW until they are whole. A thin snapshot can be
 * removed before or after its volume, and before or after other snapshots (lvmthin(7)).
 */
export class LvmThinSnapshots implements Snapshots {
  readonly #options: ThinSnapshotsOptions;
  readonly blocks: ThinBlocks;

  constructor(options: ThinSnapshotsOptions) {
    this.#options = options;
    const { group, thinPool } = options;
    this.blocks = new ThinBlocks({ group, thinPool, find: (volumes, uid) => this.#whole(volumes, uid) });
  }

  async problem(): Promise<undefined> {
    return undefined;
  }

  async list(signal: AbortSignal): Promise<BackingSnapshot[]> {
    const { volumes } = await this.#options.group.read(FRESH_MS, signal);
    return volumes.filter((volume) => this.#isOurs(volume) && !isHalf(volume)).map((volume) => this.#backing(volume));
  }

  async find(uid: string, signal: AbortSignal): Promise<BackingSnapshot | undefined> {
    const { volumes } = await this.#options.group.read(FRESH_MS, signal);
    const found = this.#whole(volumes, uid);
    return found && this.#backing(found);
  }

  get serial(): Serial {
    return this.#options.group;
  }

  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    return takeSnapshot(this, request, instant, signal);
  }

  async restore(request: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    const { group, finish } = this.#options;
    const isMade = await group.turn(() => this.#restore(request, snapshotUID, signal), signal);
    if (isMade) await finish(request.uid, signal);
    return isMade;
  }

  async expose(uid: string, signal: AbortSignal): Promise<{ path: string; bytes: number } | undefined> {
    const volume = await this.#active(uid, true, signal);
    return volume && { path: `/dev/${this.#options.group.pathOf(volume.name)}`, bytes: exportedBytes(volume) };
  }

  async conceal(uid: string, signal: AbortSignal): Promise<void> {
    await this.#active(uid, false, signal);
  }

  /** A whole snapshot, once it is active or inactive as wanted; undefined when there is none. */
  #active(uid: string, wanted: boolean, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    const find = (volumes: readonly LogicalVolume[]): LogicalVolume | undefined => this.#whole(volumes, uid);
    return setActive(this.#options.group, find, { wanted, maxAgeMs: FRESH_MS }, signal);
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    if (this.#in((await group.read(FRESH_MS, signal)).volumes, uid)) await group.remove(snapshotNameOf(uid), signal);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    const volume = this.#in((await group.read(FRESH_MS, signal)).volumes, uid);
    if (volume) await group.mark({ volume, off: [TAG], on: [TAG_RETAINED] }, signal);
  }

  async prepare(requests: readonly SnapshotRequest[], signal: AbortSignal): Promise<PreparedSnapshot[]> {
    const { group, thinPool, admitSnapshot } = this.#options;
    let report = await group.report(signal);
    const halves = requests.filter(({ uid }) => this.#in(report.volumes, uid)?.tags.includes(TAG_NEW));
    for (const { uid } of halves) await this.#discard(uid);
    if (halves.length > 0) report = await group.report(signal);
    let needed = 0;
    const prepared = requests.map((request) => {
      const found = this.#in(report.volumes, request.uid);
      const originName = `${PREFIX}${checkUid(request.volumeUID)}`;
      const origin = report.volumes.find((volume) => volume.name === originName && volume.pool === thinPool);
      if (!found && !origin) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(originName)} is not there`);
      if (!found && origin) needed += written(origin);
      return this.#prepared(request, { originName, origin, found });
    });
    const begun = prepared.filter(({ found }) => !found).length;
    if (begun > 0) {
      checkMetadata(report, begun);
      admitSnapshot(report, needed);
    }
    return prepared;
  }

  #prepared(
    { uid, name, volumeUID }: SnapshotRequest,
    { originName, origin, found }: { originName: string; origin: LogicalVolume | undefined; found: LogicalVolume | undefined },
  ): PreparedSnapshot {
    const { group, pool } = this.#options;
    const path = group.pathOf(snapshotNameOf(uid));
    const translated = async <R>(work: () => Promise<R>): Promise<R> => {
      try {
        return await work();
      } catch (error) {
        throw isOfTheCommand(error) ? failed(`taking a snapshot of logical volume ${group.pathOf(originName)}`, error) : error;
      }
    };
    const tags = [
      TAG,
      `${TAG_POOL}${pool}`,
      `${TAG_SNAPSHOT}${name}`,
      `${TAG_ORIGIN}${volumeUID}`,
      TAG_NEW,
      ...(origin ? tailTagsOf(origin) : []),
    ];
    const args = ['--snapshot', '--name', snapshotNameOf(uid), '--setactivationskip', 'y', ...tags.flatMap((tag) => ['--addtag', tag])];
    return {
      ...(found ? { found: this.#backing(found) } : {}),
      make: () => translated(() => group.change('lvcreate', [...args, group.pathOf(originName)])),
      finish: (createdAt) =>
        translated(async () => {
          // What was written since is counted, too: it may only be more than what the snapshot keeps.
          const report = await group.report();
          const half = this.#in(report.volumes, uid);
          if (!half) throw new BackendError('BackendFailed', `logical volume ${path} vanished while it was made`);
          const reserved = keptBytes(half, report.volumes);
          // Hosts that froze their file systems have written what they had in memory.
          if (!origin || reserved > written(origin)) this.#admitAgain(report);
          const on = [`${TAG_CREATED}${createdAt.toISOString()}`, `${TAG_RESERVES}${reserved}`];
          await group.change('lvchange', ['--deltag', TAG_NEW, ...on.flatMap((tag) => ['--addtag', tag]), path]);
          const whole = { ...half, tags: [...half.tags.filter((tag) => tag !== TAG_NEW), ...on] };
          group.note(whole);
          return this.#backing(whole);
        }),
      discard: () => this.#discard(uid),
    };
  }

  /**
   * Refuses when the snapshots that were made, and are not finished yet, could fill the thin pool: more may have been written since they were
   * admitted. @throws BackendError
   */
  #admitAgain(report: VolumeGroup): void {
    // Without TAG_RESERVES they would count with their full sizes.
    const halves = report.volumes.filter((volume) => this.#isOurs(volume) && isHalf(volume));
    const others = report.volumes.filter((volume) => !halves.includes(volume));
    const needed = halves.reduce((sum, half) => sum + keptBytes(half, report.volumes), 0);
    this.#options.admitSnapshot({ ...report, volumes: others }, needed);
  }

  /** A volume has all data of the snapshot as soon as it exists; one that is still too small is made larger at the next attempt. */
  async #restore({ uid, name, bytes, tail: wantsTail }: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    const { group, pool, thinPool, admit } = this.#options;
    const report = await group.report(signal);
    const volumeName = `${PREFIX}${checkUid(uid)}`;
    const path = group.pathOf(volumeName);
    const made = report.volumes.find((volume) => volume.name === volumeName && volume.tags.includes(TAG));
    const source = this.#in(report.volumes, snapshotUID);
    const tail = made ? notedTail(made) : wantsTail ? tailFor(report) : 0;
    const size = tail > 0 ? roundUp(bytes, report.extent) + tail : bytes;
    try {
      if (!made) {
        if (!source || isHalf(source)) return false;
        admit(report, Math.max(size, source.bytes));
        const exported = exportedBytes(source);
        // Its own tail is not the snapshot's: until that is zeroed, the volume has only the snapshot's bytes.
        const unclean = exported < source.bytes ? [`${TAG_CLEAN}${exported}`] : [];
        const marks = [...unclean, ...(tail > 0 ? tailTags({ exported, tail }) : [])];
        const tags = [TAG, `${TAG_VOLUME}${name}`, `${TAG_POOL}${pool}`, ...marks].flatMap((tag) => ['--addtag', tag]);
        const args = ['--snapshot', '--name', volumeName, '--setactivationskip', 'n', ...tags, group.pathOf(snapshotNameOf(snapshotUID))];
        await group.change('lvcreate', args);
      }
      const present = made ?? source;
      if (present && present.bytes < size) await group.change('lvextend', ['--size', sizeArg(size), path]);
      await group.report(signal);
      return true;
    } catch (error) {
      throw isOfTheCommand(error) ? failed(`making logical volume ${path} of a snapshot in pool ${thinPool}`, error) : error;
    }
  }

  /** Removes half a snapshot. Call it in the group's turn. */
  async #discard(uid: string): Promise<void> {
    const { group } = this.#options;
    const { volumes } = await group.report(new AbortController().signal);
    const found = this.#in(volumes, uid);
    if (!found || !isHalf(found)) return;
    try {
      await group.change('lvremove', ['--select', `lv_tags=${TAG_NEW}`, group.pathOf(snapshotNameOf(uid))]);
    } catch (error) {
      throw failed(`removing logical volume ${group.pathOf(snapshotNameOf(uid))}`, error);
    }
    await group.report(new AbortController().signal);
  }

  #in(volumes: readonly LogicalVolume[], uid: string): LogicalVolume | undefined {
    const name = snapshotNameOf(uid);
    return volumes.find((volume) => volume.name === name && this.#isOurs(volume));
  }

  #whole(volumes: readonly LogicalVolume[], uid: string): LogicalVolume | undefined {
    const found = this.#in(volumes, uid);
    return found && !isHalf(found) ? found : undefined;
  }

  #isOurs(volume: LogicalVolume): boolean {
    const { pool, thinPool } = this.#options;
    return isSnapshot(volume) && volume.pool === thinPool && tagged(volume, TAG_POOL) === pool;
  }

  #backing(volume: LogicalVolume): BackingSnapshot {
    return {
      uid: snapshotUidOf(volume),
      snapshot: tagged(volume, TAG_SNAPSHOT) ?? '',
      name: this.#options.group.pathOf(volume.name),
      bytes: exportedBytes(volume),
      createdAt: tagged(volume, TAG_CREATED) ?? '',
    };
  }
}

/** The tags with which a snapshot shows what was exported of its volume. */
function tailTagsOf(origin: LogicalVolume): string[] {
  const tail = notedTail(origin);
  return tail > 0 ? tailTags({ exported: exportedBytes(origin), tail }) : [];
}

/** Bytes of the thin pool that a thin volume can come to take: for one of our snapshots, what it keeps; for others, their full size. */
export function reservedBytes(volume: LogicalVolume): number {
  const reserves = isSnapshot(volume) ? Number(tagged(volume, TAG_RESERVES)) : Number.NaN;
  return Number.isSafeInteger(reserves) ? Math.min(reserves, volume.bytes) : volume.bytes;
}

/** Bytes that a snapshot of a volume can come to take: those that the volume has written by now. */
function keptBytes(snapshot: LogicalVolume, volumes: readonly LogicalVolume[]): number {
  const originName = `${PREFIX}${tagged(snapshot, TAG_ORIGIN)}`;
  return written(volumes.find((volume) => volume.name === originName) ?? snapshot);
}

/** At least the bytes of a thin volume that were ever written; all of it where LVM does not tell, as for an inactive volume. */
function written({ bytes, dataPercent }: LogicalVolume): number {
  if (dataPercent === undefined) return bytes;
  return Math.min(bytes, Math.ceil((bytes * (Number(dataPercent) + PERCENT_ERROR)) / 100));
}
