import {
  BackendError,
  type BackingSnapshot,
  type CreateRequest,
  checkUid,
  type Instant,
  kindOf,
  type PreparedSnapshot,
  type Serial,
  type SnapshotRequest,
  type Snapshots,
  snapshotId,
} from '../backend.ts';
import { takeSnapshot } from '../take-snapshot.ts';
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

  get serial(): Serial {
    return this.#options.group;
  }

  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    return takeSnapshot(this, request, instant, signal);
  }

  restore(request: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    return this.#options.group.turn(() => this.#restore(request, snapshotUID, signal), signal);
  }

  async expose(uid: string, signal: AbortSignal): Promise<{ path: string; bytes: number } | undefined> {
    const volume = await this.#active(uid, true, signal);
    return volume && { path: `/dev/${this.#options.group.pathOf(volume.name)}`, bytes: volume.bytes };
  }

  async conceal(uid: string, signal: AbortSignal): Promise<void> {
    await this.#active(uid, false, signal);
  }

  /** A whole snapshot, once it is active or inactive as wanted; undefined when there is none. */
  async #active(uid: string, wanted: boolean, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    const { group } = this.#options;
    const find = (volumes: readonly LogicalVolume[]): LogicalVolume | undefined => {
      const found = this.#in(volumes, uid);
      return found && !isHalf(found) ? found : undefined;
    };
    const known = find((await group.read(FRESH_MS, signal)).volumes);
    if (!known || known.active === wanted) return known;
    return await group.turn(async () => {
      const volume = find((await group.report(signal)).volumes);
      if (!volume || volume.active === wanted) return volume;
      const args = wanted ? ['--activate', 'y', '--ignoreactivationskip'] : ['--activate', 'n'];
      try {
        await group.change('lvchange', [...args, group.pathOf(volume.name)]);
      } catch (error) {
        throw isOfTheCommand(error) ? failed(`${wanted ? '' : 'de'}activating logical volume ${group.pathOf(volume.name)}`, error) : error;
      }
      const changed = { ...volume, active: wanted };
      group.note(changed);
      return changed;
    }, signal);
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
      return this.#prepared(request, originName, found);
    });
    if (prepared.some(({ found }) => !found)) admitSnapshot(report, needed);
    return prepared;
  }

  #prepared({ uid, name, volumeUID }: SnapshotRequest, originName: string, found: LogicalVolume | undefined): PreparedSnapshot {
    const { group, pool } = this.#options;
    const path = group.pathOf(nameOf(uid));
    const translated = async <R>(work: () => Promise<R>): Promise<R> => {
      try {
        return await work();
      } catch (error) {
        throw isOfTheCommand(error) ? failed(`taking a snapshot of logical volume ${group.pathOf(originName)}`, error) : error;
      }
    };
    const tags = [TAG, `${TAG_POOL}${pool}`, `${TAG_SNAPSHOT}${name}`, `${TAG_ORIGIN}${volumeUID}`, TAG_NEW];
    const args = ['--snapshot', '--name', nameOf(uid), '--setactivationskip', 'y', ...tags.flatMap((tag) => ['--addtag', tag])];
    return {
      ...(found ? { found: this.#backing(found) } : {}),
      make: () => translated(() => group.change('lvcreate', [...args, group.pathOf(originName)])),
      finish: (createdAt) =>
        translated(async () => {
          // What was written since is counted, too: it may only be more than what the snapshot keeps.
          const { volumes } = await group.report();
          const half = this.#in(volumes, uid);
          if (!half) throw new BackendError('BackendFailed', `logical volume ${path} vanished while it was made`);
          const reserved = written(volumes.find((volume) => volume.name === originName) ?? half);
          const on = [`${TAG_CREATED}${createdAt.toISOString()}`, `${TAG_RESERVES}${reserved}`];
          await group.change('lvchange', ['--deltag', TAG_NEW, ...on.flatMap((tag) => ['--addtag', tag]), path]);
          const whole = { ...half, tags: [...half.tags.filter((tag) => tag !== TAG_NEW), ...on] };
          group.note(whole);
          return this.#backing(whole);
        }),
      discard: () => this.#discard(uid),
    };
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
