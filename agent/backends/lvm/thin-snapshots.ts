import {
  BackendError,
  type BackingSnapshot,
  type CreateRequest,
  checkUid,
  type Instant,
  kindOf,
  type SnapshotRequest,
  type Snapshots,
  snapshotId,
} from '../backend.ts';
import { PREFIX, TAG_NEW, TAG_POOL, TAG_RETAINED, TAG_VOLUME } from './base.ts';
import { failed } from './failed.ts';
import { type LvmGroup, TAG } from './group.ts';
import { sizeArg } from './linear.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';

/** Name of the AoESnapshot. */
const TAG_SNAPSHOT = 'aoe.dev/snapshot=';
/** UID of the AoEVolume that it was taken of. */
const TAG_ORIGIN = 'aoe.dev/origin=';
/** The instant that it shows. */
const TAG_CREATED = 'aoe.dev/created=';
/** Bytes that it can come to take: those that the volume had written. */
const TAG_RESERVES = 'aoe.dev/reserves=';
/** How old a report may be for what is in it: our own changes are included at once. */
const FRESH_MS = 30_000;
/** LVM rounds data_percent to two places. */
const PERCENT_ERROR = 0.01;

export interface ThinSnapshotsOptions {
  group: LvmGroup;
  /** Name of the AoEPool. */
  pool: string;
  thinPool: string;
  /** Refuses when the thin pool is not ready, or when a volume of so many bytes could fill it. @throws BackendError */
  admit: (group: VolumeGroup, bytes: number) => void;
  /** Refuses when a snapshot that keeps so many bytes could fill the thin pool, or its metadata. @throws BackendError */
  admitSnapshot: (group: VolumeGroup, bytes: number) => void;
}

/**
 * Thin snapshots: inactive logical volumes in the thin pool of their volume. They have TAG_NEW until they are whole. A thin snapshot can be
 * removed before or after its volume, and before or after other snapshots (lvmthin(7)).
 */
export class LvmThinSnapshots implements Snapshots {
  readonly #options: ThinSnapshotsOptions;

  constructor(options: ThinSnapshotsOptions) {
    this.#options = options;
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
    const found = this.#in(volumes, uid);
    return found && !isHalf(found) ? this.#backing(found) : undefined;
  }

  /** Waits for the group's turn before the volume is held, so that the hold lasts no longer than LVM's command. */
  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    return this.#options.group.turn(() => this.#take(request, instant, signal), signal);
  }

  restore(request: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    return this.#options.group.turn(() => this.#restore(request, snapshotUID, signal), signal);
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    if (this.#in((await group.read(FRESH_MS, signal)).volumes, uid)) await group.remove(nameOf(uid), signal);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    const volume = this.#in((await group.read(FRESH_MS, signal)).volumes, uid);
    if (volume) await group.mark({ volume, off: [TAG], on: [TAG_RETAINED] }, signal);
  }

  async #take({ uid, name, volumeUID }: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    const { group, pool, thinPool, admitSnapshot } = this.#options;
    let report = await group.report(signal);
    const found = this.#in(report.volumes, uid);
    if (found && !isHalf(found)) return this.#backing(found);
    if (found) {
      await this.#discard(uid);
      report = await group.report(signal);
    }
    const originName = `${PREFIX}${checkUid(volumeUID)}`;
    const origin = report.volumes.find((volume) => volume.name === originName && volume.pool === thinPool);
    if (!origin) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(originName)} is not there`);
    admitSnapshot(report, written(origin));
    const tags = [TAG, `${TAG_POOL}${pool}`, `${TAG_SNAPSHOT}${name}`, `${TAG_ORIGIN}${volumeUID}`, TAG_NEW];
    const args = ['--snapshot', '--name', nameOf(uid), '--setactivationskip', 'y', ...tags.flatMap((tag) => ['--addtag', tag])];
    try {
      const createdAt = await instant(() => group.change('lvcreate', [...args, group.pathOf(originName)]));
      // What was written since is counted, too: it may only be more than what the snapshot keeps.
      const { volumes } = await group.report(signal);
      const half = this.#in(volumes, uid);
      if (!half) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(nameOf(uid))} vanished while it was made`);
      const reserved = written(volumes.find((volume) => volume.name === originName) ?? half);
      const on = [`${TAG_CREATED}${createdAt.toISOString()}`, `${TAG_RESERVES}${reserved}`];
      await group.change('lvchange', ['--deltag', TAG_NEW, ...on.flatMap((tag) => ['--addtag', tag]), group.pathOf(nameOf(uid))]);
      const whole = { ...half, tags: [...half.tags.filter((tag) => tag !== TAG_NEW), ...on] };
      group.note(whole);
      return this.#backing(whole);
    } catch (error) {
      // What cannot be discarded now has TAG_NEW, and is discarded before the next attempt.
      await this.#discard(uid).catch(() => {});
      throw isOfTheCommand(error) ? failed(`taking a snapshot of logical volume ${group.pathOf(originName)}`, error) : error;
    }
  }

  /** A volume has all data of the snapshot as soon as it exists; one that is still too small is made larger at the next attempt. */
  async #restore({ uid, name, bytes }: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    const { group, pool, thinPool, admit } = this.#options;
    const report = await group.report(signal);
    const volumeName = `${PREFIX}${checkUid(uid)}`;
    const path = group.pathOf(volumeName);
    const made = report.volumes.find((volume) => volume.name === volumeName && volume.tags.includes(TAG));
    const source = this.#in(report.volumes, snapshotUID);
    try {
      if (!made) {
        if (!source || isHalf(source)) return false;
        admit(report, Math.max(bytes, source.bytes));
        const tags = [TAG, `${TAG_VOLUME}${name}`, `${TAG_POOL}${pool}`].flatMap((tag) => ['--addtag', tag]);
        const args = ['--snapshot', '--name', volumeName, '--setactivationskip', 'n', ...tags, group.pathOf(nameOf(snapshotUID))];
        await group.change('lvcreate', args);
      }
      const present = made ?? source;
      if (present && present.bytes < bytes) await group.change('lvextend', ['--size', sizeArg(bytes), path]);
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
      await group.change('lvremove', ['--select', `lv_tags=${TAG_NEW}`, group.pathOf(nameOf(uid))]);
    } catch (error) {
      throw failed(`removing logical volume ${group.pathOf(nameOf(uid))}`, error);
    }
    await group.report(new AbortController().signal);
  }

  #in(volumes: readonly LogicalVolume[], uid: string): LogicalVolume | undefined {
    const name = nameOf(uid);
    return volumes.find((volume) => volume.name === name && this.#isOurs(volume));
  }

  #isOurs(volume: LogicalVolume): boolean {
    const { pool, thinPool } = this.#options;
    return isSnapshot(volume) && volume.pool === thinPool && tagged(volume, TAG_POOL) === pool;
  }

  #backing(volume: LogicalVolume): BackingSnapshot {
    return {
      uid: volume.name.slice(PREFIX.length + snapshotId('x').length - 1),
      snapshot: tagged(volume, TAG_SNAPSHOT) ?? '',
      name: this.#options.group.pathOf(volume.name),
      bytes: volume.bytes,
      createdAt: tagged(volume, TAG_CREATED) ?? '',
    };
  }
}

/** Bytes of the thin pool that a thin volume can come to take: for one of our snapshots, what it keeps; for others, their full size. */
export function reservedBytes(volume: LogicalVolume): number {
  const reserves = isSnapshot(volume) ? Number(tagged(volume, TAG_RESERVES)) : Number.NaN;
  return Number.isSafeInteger(reserves) ? Math.min(reserves, volume.bytes) : volume.bytes;
}

/** At least the bytes of a thin volume that were ever written; all of it where LVM does not tell, as for an inactive volume. */
function written({ bytes, dataPercent }: LogicalVolume): number {
  if (dataPercent === undefined) return bytes;
  return Math.min(bytes, Math.ceil((bytes * (Number(dataPercent) + PERCENT_ERROR)) / 100));
}

/** Whether a logical volume is a snapshot of ours. */
export function isSnapshot({ name, tags }: LogicalVolume): boolean {
  return name.startsWith(PREFIX) && kindOf(name.slice(PREFIX.length)) === 'snapshot' && tags.includes(TAG);
}

function isHalf({ tags }: LogicalVolume): boolean {
  return tags.includes(TAG_NEW);
}

function tagged({ tags }: LogicalVolume, prefix: string): string | undefined {
  return tags.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}

function nameOf(uid: string): string {
  return `${PREFIX}${snapshotId(uid)}`;
}

/** Whether an error is of a program that was run. */
function isOfTheCommand(error: unknown): boolean {
  return error instanceof Error && 'stderr' in error;
}
