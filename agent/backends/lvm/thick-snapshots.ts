import {
  BackendError,
  type BackingSnapshot,
  type CopyOut,
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
import type { HasModule } from './kernel-module.ts';
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
import { PREFIX, TAG, TAG_CLEAN, TAG_NEW, TAG_POOL, TAG_RETAINED, tagged } from './tags.ts';
import { exportedBytes } from './tail.ts';

/** How old a report may be for what is in it: our own changes are included at once. */
const FRESH_MS = 30_000;
/** Ends the name of a copy-on-write snapshot. */
const COW = '.cow';
/**
 * Bytes that a copy-on-write snapshot keeps at a time. The kernel has an entry in memory for each of them that was
 * written: with LVM's 4 KiB that is gigabytes for a large volume.
 */
const CHUNK = 64 * 1024;
/** Bytes of an entry in the metadata of a copy-on-write snapshot: `struct disk_exception` in drivers/md/dm-snap-persistent.c. */
const ENTRY = 16;

export interface ThickSnapshotsOptions {
  group: LvmGroup;
  /** Name of the AoEPool. */
  pool: string;
  hasModule: HasModule;
}

/** What there is of a snapshot. */
interface Parts {
  copy: LogicalVolume | undefined;
  cow: LogicalVolume | undefined;
}

/**
 * Snapshots of linear volumes. LVM's copy-on-write snapshot is the instant, and is there only until all of it is copied into a linear
 * volume, which is made before: once the instant is certain, there is room for it. Both have TAG_NEW at first; the one loses it when the
 * instant is certain, the other when it is whole.
 */
export class LvmThickSnapshots implements Snapshots {
  readonly #options: ThickSnapshotsOptions;
  readonly copyOut: CopyOut = {
    open: (uid, maxAgeMs, signal) => this.#open(uid, maxAgeMs, signal),
    finish: (uid, signal) => this.#finish(uid, signal),
  };

  constructor(options: ThickSnapshotsOptions) {
    this.#options = options;
  }

  async problem(): Promise<string | undefined> {
    if (await this.#options.hasModule('dm_snapshot')) return undefined;
    return 'kernel module dm-snapshot is missing on this node: load it (modprobe dm-snapshot), and have it loaded at boot (/etc/modules-load.d)';
  }

  async list(signal: AbortSignal): Promise<BackingSnapshot[]> {
    const { volumes } = await this.#options.group.read(FRESH_MS, signal);
    const copies = volumes.filter((volume) => this.#isOurs(volume) && !volume.name.endsWith(COW));
    return copies.flatMap((volume) => this.#backing(this.#in(volumes, snapshotUidOf(volume))) ?? []);
  }

  async find(uid: string, signal: AbortSignal): Promise<BackingSnapshot | undefined> {
    return this.#backing(await this.#read(uid, FRESH_MS, signal));
  }

  get serial(): Serial {
    return this.#options.group;
  }

  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    return takeSnapshot(this, request, instant, signal);
  }

  async expose(uid: string, signal: AbortSignal): Promise<{ path: string; bytes: number } | undefined> {
    const volume = await this.#setActive(uid, true, signal);
    return volume && { path: this.#deviceOf(volume.name), bytes: volume.bytes };
  }

  async conceal(uid: string, signal: AbortSignal): Promise<void> {
    await this.#setActive(uid, false, signal);
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    const { copy, cow } = await this.#read(uid, FRESH_MS, signal);
    for (const volume of [cow, copy]) if (volume) await group.remove(volume.name, signal);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    const { group } = this.#options;
    const parts = await this.#read(uid, FRESH_MS, signal);
    this.#checkWhole(uid, parts);
    if (parts.copy) await group.mark({ volume: parts.copy, off: [TAG], on: [TAG_RETAINED] }, signal);
  }

  async prepare(requests: readonly SnapshotRequest[], signal: AbortSignal): Promise<PreparedSnapshot[]> {
    const { group } = this.#options;
    let report = await group.report(signal);
    const isLeft = ({ uid }: SnapshotRequest): boolean => {
      const parts = this.#in(report.volumes, uid);
      return (parts.copy ?? parts.cow) !== undefined && !this.#backing(parts);
    };
    const left = requests.filter(isLeft);
    for (const { uid } of left) await this.#discard(uid);
    if (left.length > 0) report = await group.report(signal);
    const wanted = requests.map((request) => {
      const found = this.#backing(this.#in(report.volumes, request.uid));
      return { request, found, origin: found ? undefined : this.#origin(report, request.volumeUID) };
    });
    const origins = wanted.flatMap(({ origin }) => origin ?? []);
    if (origins.length > 0) {
      const problem = await this.problem();
      if (problem !== undefined) throw new BackendError('PoolNotReady', problem);
      this.#admit(report, origins);
    }
    const made: string[] = [];
    try {
      for (const { request, origin } of wanted) {
        if (!origin) continue;
        made.push(request.uid);
        await this.#makeCopy(request, origin);
      }
    } catch (error) {
      for (const uid of made) await this.#discard(uid).catch(() => {});
      throw error;
    }
    return wanted.map(({ request, found, origin }) => this.#prepared(request, report.extent, { found, origin }));
  }

  #prepared(
    request: SnapshotRequest,
    extent: number,
    { found, origin }: { found: BackingSnapshot | undefined; origin: LogicalVolume | undefined },
  ): PreparedSnapshot {
    const { group } = this.#options;
    const { uid, volumeUID } = request;
    const name = `${snapshotNameOf(uid)}${COW}`;
    return {
      ...(found ? { found } : {}),
      make: async () => {
        const size = cowBytes(origin?.bytes ?? 0, extent);
        const args = ['--snapshot', '--name', name, '--size', `${size}b`, '--chunksize', `${CHUNK}b`, '--permission', 'r'];
        await this.#translated(`taking a snapshot of logical volume ${group.pathOf(`${PREFIX}${volumeUID}`)}`, () =>
          group.change('lvcreate', [...args, ...this.#tagArgs(request), group.pathOf(`${PREFIX}${checkUid(volumeUID)}`)]),
        );
      },
      finish: (createdAt) =>
        this.#translated(`marking logical volume ${group.pathOf(name)}`, async () => {
          const { cow, copy } = this.#in((await group.report()).volumes, uid);
          if (!cow || !copy) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(name)} vanished while it was made`);
          const on = `${TAG_CREATED}${createdAt.toISOString()}`;
          await group.change('lvchange', ['--deltag', TAG_NEW, '--addtag', on, group.pathOf(name)]);
          const marked = { ...cow, tags: [...cow.tags.filter((tag) => tag !== TAG_NEW), on] };
          group.note(marked);
          const backing = this.#backing({ copy, cow: marked });
          if (!backing) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(name)} was damaged while it was made`);
          return backing;
        }),
      discard: () => this.#discard(uid),
    };
  }

  /** The volume of which a snapshot is to be taken. @throws BackendError */
  #origin({ volumes }: VolumeGroup, volumeUID: string): LogicalVolume {
    const { group, pool } = this.#options;
    const name = `${PREFIX}${checkUid(volumeUID)}`;
    const origin = volumes.find((volume) => volume.name === name && volume.pool === undefined && volume.tags.includes(TAG));
    if (!origin || (tagged(origin, TAG_POOL) ?? pool) !== pool)
      throw new BackendError('BackendFailed', `logical volume ${group.pathOf(name)} is not there`);
    const clean = tagged(origin, TAG_CLEAN);
    if (clean !== undefined && clean !== String(origin.bytes))
      throw new BackendError('BackingBusy', `logical volume ${group.pathOf(name)} is growing: the snapshot is taken after that`);
    return origin;
  }

  /** @throws BackendError PoolFull with numbers when there is no room for copies and changes; PoolNotReady when disks are missing */
  #admit(report: VolumeGroup, origins: readonly LogicalVolume[]): void {
    const { free, extent, missingDisks, name } = report;
    checkMetadata(report, origins.length * 2);
    if (missingDisks > 0) throw new BackendError('PoolNotReady', `volume group ${name} lacks ${missingDisks} of its disks`);
    const copies = origins.reduce((sum, origin) => sum + exportedBytes(origin), 0);
    const changes = origins.reduce((sum, { bytes }) => sum + cowBytes(bytes, extent), 0);
    if (copies + changes <= free) return;
    const message = `volume group ${name} has ${free} bytes free, and ${copies + changes} are needed: ${copies} for the copy of the data, and ${changes} for what is written while it is copied, which are free again afterwards`;
    throw new BackendError('PoolFull', message);
  }

  /** As large as what is exported of its volume. Its old content does not matter: every byte of it is written before it is used. */
  async #makeCopy(request: SnapshotRequest, origin: LogicalVolume): Promise<void> {
    const { group } = this.#options;
    const name = snapshotNameOf(request.uid);
    const args = ['--name', name, '--wipesignatures', 'n', '--zero', 'n', '--type', 'linear', '--size', `${exportedBytes(origin)}b`];
    await this.#translated(`creating logical volume ${group.pathOf(name)} for the data of a snapshot`, () =>
      group.change('lvcreate', [...args, ...this.#tagArgs(request), group.name]),
    );
  }

  #tagArgs({ name, volumeUID }: SnapshotRequest): string[] {
    const tags = [TAG, `${TAG_POOL}${this.#options.pool}`, `${TAG_SNAPSHOT}${name}`, `${TAG_ORIGIN}${volumeUID}`, TAG_NEW];
    return tags.flatMap((tag) => ['--addtag', tag]);
  }

  async #open(
    uid: string,
    maxAgeMs: number,
    signal: AbortSignal,
  ): Promise<{ source: string; destination: string; bytes: number } | undefined> {
    const { group } = this.#options;
    const { copy, cow } = await this.#read(uid, maxAgeMs, signal);
    if (!copy || !isHalf(copy)) return undefined;
    if (!cow || cow.isInvalid) return await this.#lost(uid, cow, signal);
    for (const { name } of [cow, copy]) {
      const find = (volumes: readonly LogicalVolume[]) => volumes.find((volume) => volume.name === name);
      await setActive(group, find, { wanted: true, maxAgeMs: FRESH_MS }, signal);
    }
    return { source: this.#deviceOf(cow.name), destination: this.#deviceOf(copy.name), bytes: copy.bytes };
  }

  /** Removes what is left of a snapshot whose source was damaged. @throws BackendError SnapshotLost */
  async #lost(uid: string, cow: LogicalVolume | undefined, signal: AbortSignal): Promise<never> {
    await this.remove(uid, signal);
    const why = cow ? 'became full, or could not be written' : 'is gone';
    const message = `logical volume ${this.#options.group.pathOf(`${snapshotNameOf(uid)}${COW}`)} ${why} before all of it was copied: delete the AoESnapshot, and take another`;
    throw new BackendError('SnapshotLost', message);
  }

  async #finish(uid: string, signal: AbortSignal): Promise<BackingSnapshot> {
    const { group } = this.#options;
    const { copy, cow } = await this.#read(uid, 0, signal);
    if (copy && isHalf(copy) && cow?.isInvalid) return await this.#lost(uid, cow, signal);
    const created = cow && tagged(cow, TAG_CREATED);
    if (!copy || (isHalf(copy) && created === undefined))
      throw new BackendError('SnapshotLost', `logical volume ${group.pathOf(snapshotNameOf(uid))} vanished when all of it was copied`);
    const whole = isHalf(copy) ? await group.mark({ volume: copy, off: [TAG_NEW], on: [`${TAG_CREATED}${created}`] }, signal) : copy;
    if (cow) await group.remove(cow.name, signal);
    return backingOf(whole, whole, group);
  }

  /** Removes what is half made. Call it in the group's turn. */
  async #discard(uid: string): Promise<void> {
    const { group } = this.#options;
    const parts = this.#in((await group.report()).volumes, uid);
    const left = [parts.cow, parts.copy].flatMap((volume) => (volume && isHalf(volume) ? group.pathOf(volume.name) : []));
    if (this.#backing(parts) || left.length === 0) return;
    try {
      await group.change('lvremove', ['--select', `lv_tags=${TAG_NEW}`, ...left]);
    } catch (error) {
      throw failed(`removing logical volumes ${left.join(' and ')}`, error);
    }
    await group.report();
  }

  #setActive(uid: string, wanted: boolean, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    const find = (volumes: readonly LogicalVolume[]): LogicalVolume | undefined => {
      const parts = this.#in(volumes, uid);
      if (!this.#backing(parts)) return undefined;
      this.#checkWhole(uid, parts);
      return parts.copy;
    };
    return setActive(this.#options.group, find, { wanted, maxAgeMs: FRESH_MS }, signal);
  }

  /** @throws BackendError BackingBusy while the data is being copied */
  #checkWhole(uid: string, parts: Parts): void {
    if (!this.#backing(parts)?.unfinished) return;
    throw new BackendError(
      'BackingBusy',
      `the data of snapshot ${this.#options.group.pathOf(snapshotNameOf(uid))} is not whole yet: it is being copied`,
    );
  }

  async #read(uid: string, maxAgeMs: number, signal: AbortSignal): Promise<Parts> {
    return this.#in((await this.#options.group.read(maxAgeMs, signal)).volumes, uid);
  }

  #in(volumes: readonly LogicalVolume[], uid: string): Parts {
    const find = (name: string) => volumes.find((volume) => volume.name === name && this.#isOurs(volume));
    return { copy: find(snapshotNameOf(uid)), cow: find(`${snapshotNameOf(uid)}${COW}`) };
  }

  #isOurs(volume: LogicalVolume): boolean {
    return isSnapshot(volume) && volume.pool === undefined && tagged(volume, TAG_POOL) === this.#options.pool;
  }

  /** The snapshot, once its instant is certain. */
  #backing({ copy, cow }: Parts): BackingSnapshot | undefined {
    if (!copy || (cow && isHalf(cow)) || (!cow && isHalf(copy))) return undefined;
    return { ...backingOf(copy, cow ?? copy, this.#options.group), ...(cow ? { unfinished: true as const } : {}) };
  }

  #deviceOf(name: string): string {
    return `/dev/${this.#options.group.pathOf(name)}`;
  }

  async #translated<R>(doing: string, work: () => Promise<R>): Promise<R> {
    try {
      return await work();
    } catch (error) {
      throw isOfTheCommand(error) ? failed(doing, error) : error;
    }
  }
}

/** @param marked the logical volume with the instant in its tags */
function backingOf(copy: LogicalVolume, marked: LogicalVolume, group: LvmGroup): BackingSnapshot {
  return {
    uid: snapshotUidOf(copy),
    snapshot: tagged(copy, TAG_SNAPSHOT) ?? '',
    name: group.pathOf(copy.name),
    bytes: copy.bytes,
    createdAt: tagged(marked, TAG_CREATED) ?? '',
  };
}

/**
 * Bytes of a copy-on-write snapshot that cannot become full: room for every chunk of its volume, an entry for each, a chunk for the header,
 * and one for the end of the entries (drivers/md/dm-snap-persistent.c).
 */
export function cowBytes(bytes: number, extent: number): number {
  const chunks = Math.ceil(bytes / CHUNK);
  const metadata = Math.ceil((chunks + 1) / (CHUNK / ENTRY));
  return roundUp((chunks + metadata + 2) * CHUNK, extent);
}
