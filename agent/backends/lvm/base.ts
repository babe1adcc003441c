import {
  type Adoption,
  type Backend,
  BackendError,
  type BackingVolume,
  type Cleanness,
  type CreateRequest,
  checkUid,
  kindOf,
  type Measurement,
  roundUp,
  type WipeProgress,
} from '../backend.ts';
import { type IsClaimed, isClaimed } from '../device-use.ts';
import { findMeasured } from '../find-measured.ts';
import { LvmAdoption } from './adoption.ts';
import type { LvmCli } from './command/cli.ts';
import { failed } from './command/failed.ts';
import type { LvmGroup } from './group.ts';
import { checkMetadata } from './metadata-area.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import {
  bytesTag,
  nameOf,
  PREFIX,
  TAG,
  TAG_ADOPTED,
  TAG_CLEAN,
  TAG_COPY,
  TAG_MOVES,
  TAG_NEW,
  TAG_POOL,
  TAG_RETAINED,
  TAG_VOLUME,
  TAG_WIPED,
  TAG_ZEROED,
  tagged,
  tagsOf,
  uidOf,
} from './tags.ts';
import {
  cleanBytes,
  exportedBytes,
  isUnclean,
  notedTail,
  tagsOfEmptyTail,
  tagsOfGrown,
  tagsOfTail,
  tailBytes,
  tailFor,
  tailTags,
  unreadable,
} from './tail.ts';
import type { WipeOptions, Wiper } from './wipe.ts';
import { noteBytes, notingProgress } from './wipe-progress.ts';

/**
 * How old a report of the group may be for its size, its free space, and for what is not in it. Our own changes are included at once,
 * so this is for changes by others.
 */
const FRESH_MS = 30_000;

/** Whether a device node exists. */
export type HasDevice = (path: string) => Promise<boolean>;

export interface LvmOptions {
  lvm: LvmCli;
  /** Name of the AoEPool: two pools may share a volume group. */
  pool: string;
  group: string;
  hasDevice: HasDevice;
  isClaimed?: IsClaimed;
}

/** What linear and thin volumes have in common: found by name and tag in the group's report, activated when inactive. */
export abstract class LvmBase implements Backend {
  protected readonly group: LvmGroup;
  readonly #pool: string;
  readonly #hasDevice: HasDevice;
  readonly adoption: Adoption;
  readonly #release: LvmAdoption['release'];

  constructor({ lvm, pool, group, hasDevice, isClaimed: claimed = isClaimed }: LvmOptions) {
    this.group = lvm.group(group);
    this.#pool = pool;
    this.#hasDevice = hasDevice;
    const adoption = new LvmAdoption({
      ...{ group: this.group, pool, hasDevice, isClaimed: claimed },
      accepts: (volume) => this.accepts(volume),
      activated: (uid, volume, signal) => this.#activated(uid, volume, signal),
      backing: (volume) => this.backing(volume),
    });
    this.adoption = adoption;
    this.#release = adoption.release.bind(adoption);
  }

  /** Tags of a new volume, beside those that name it: TAG_NEW where it may hold old data. */
  protected readonly initialTags: readonly string[] = [];
  /** How LVM reports a new volume of this backend. */
  protected abstract readonly kind: Pick<LogicalVolume, 'layout' | 'pool'>;
  /** Whether a logical volume is of this backend's type. */
  protected abstract accepts(volume: LogicalVolume): boolean;
  /** Arguments of lvcreate after name and tags. */
  protected abstract createArgs(request: CreateRequest): string[];
  /** Refuses when the pool cannot take a new volume. It is called in the group's turn. */
  protected abstract admit(request: CreateRequest, signal: AbortSignal): Promise<void>;
  protected abstract measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes' | 'tail'>;

  path(uid: string): string {
    return `/dev/${this.group.pathOf(nameOf(uid))}`;
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      const group = await this.group.read(FRESH_MS, signal);
      const ours = this.ours(group);
      return { ...this.measurement(group, ours), tail: tailFor(group), volumes: ours.map((volume) => this.backing(volume)) };
    } catch (error) {
      if (error instanceof BackendError)
        return { ready: false, message: error.message, size: 0, free: 0, granularity: 1, tail: 0, volumes: [] };
      throw error;
    }
  }

  async find(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
    // A measurement does not tell a group that is missing from one that does not answer.
    await this.group.read(FRESH_MS, signal);
    return await findMeasured(this, uid, signal);
  }

  async open(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
    const found = await this.#find(uid, 0, signal);
    const volume = found && (await this.#activated(uid, found, signal));
    if (!volume) return undefined;
    // It was exported before, so it holds data. TAG_NEW can only come from restored LVM metadata, and must not lead to a wipe.
    if (volume.tags.includes(TAG_NEW)) return await this.#markReady(volume, undefined, signal);
    return this.backing(volume);
  }

  async namesakes({ uid, name }: Pick<CreateRequest, 'uid' | 'name'>, signal: AbortSignal): Promise<BackingVolume[]> {
    const find = async (maxAgeMs: number): Promise<BackingVolume[]> => {
      const volumes = this.ours(await this.group.read(maxAgeMs, signal)).map((volume) => this.backing(volume));
      return volumes.some((each) => each.uid === uid) ? [] : volumes.filter(({ volume }) => volume === name);
    };
    // What was found may have been removed by hand meanwhile.
    return (await find(FRESH_MS)).length > 0 ? await find(0) : [];
  }

  async create(request: CreateRequest, signal: AbortSignal): Promise<BackingVolume> {
    const uid = checkUid(request.uid);
    const made = await this.group.turn(() => this.#make(request, signal), signal);
    const volume = await this.#activated(uid, made, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished while it was made`);
    return this.backing(volume);
  }

  /** Wipes a volume that has TAG_NEW, and replaces the tag by how far that went. */
  protected async wipeNew(
    uid: string,
    wipe: (path: string, bytes: number, options: Omit<WipeOptions, 'wipeExtent'>) => Promise<Cleanness>,
    { signal, onProgress = () => {} }: { signal: AbortSignal; onProgress?: ((progress: WipeProgress) => void) | undefined },
  ): Promise<BackingVolume> {
    const found = await this.#find(uid, 0, signal);
    if (!found) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished before it was wiped`);
    if (!found.tags.includes(TAG_NEW)) return this.backing(found);
    const { bytes } = found;
    const from = bytesTag(found, TAG_ZEROED) ?? 0;
    onProgress({ zeroed: from, bytes });
    const noted = await notingProgress({ group: this.group, volume: found, prefix: TAG_ZEROED, signal }, (note) => {
      const onZeroed = async (zeroed: number): Promise<void> => {
        onProgress({ zeroed, bytes });
        await note(zeroed);
      };
      return wipe(this.path(uid), bytes, { from, tail: tailBytes(found), onZeroed, signal });
    });
    return await this.#markReady(noted.volume, noted.result, signal);
  }

  /**
   * Extends a volume to at least this size. Its new part is not wiped.
   * @param marksNew note how much of it is clean, before it is extended: see {@link zeroGrown}
   */
  protected async extend(uid: string, bytes: number, { marksNew }: { marksNew: boolean }, signal: AbortSignal): Promise<LogicalVolume> {
    const group = await this.group.read(0, signal);
    const { extent } = group;
    const found = this.ours(group).find(({ name }) => name === nameOf(uid));
    if (!found) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished before it was extended`);
    // A wipe from there would destroy the data.
    if (exportedBytes(found) === 0) throw unreadable(found, this.#pathOf(uid));
    const tail = notedTail(found);
    const size = roundUp(bytes, extent) + tail;
    if (found.bytes >= size) return found;
    this.#checkGrowth(uid);
    checkMetadata(group);
    // An agent of an earlier version, which knows no tail, goes by this tag, too.
    const volume =
      marksNew || tail > 0 ? await noteBytes(this.group, found, { prefix: TAG_CLEAN, bytes: cleanBytes(found) }, signal) : found;
    return await this.group.turn(async () => {
      await this.admit({ uid, name: '', bytes: size - found.bytes }, signal);
      this.#checkGrowth(uid);
      try {
        await this.group.change('lvextend', ['--size', `${size}b`, this.#pathOf(uid)]);
      } catch (error) {
        throw failed(`extending logical volume ${this.#pathOf(uid)}`, error);
      }
      const extended = { ...volume, bytes: size };
      this.group.note(extended);
      return extended;
    }, signal);
  }

  /** @throws BackendError BackingBusy while there is a copy-on-write snapshot of the volume: LVM extends such a volume only when it is inactive */
  #checkGrowth(uid: string): void {
    const snapshot = this.group.snapshotObstacle(nameOf(uid));
    if (snapshot === undefined) return;
    throw new BackendError('BackingBusy', `logical volume ${this.#pathOf(uid)} cannot grow now: ${snapshot}`);
  }

  /**
   * Zeroes the old tail of a volume and what {@link extend} has added, then lets that be exported, but for a new tail. When it is cut short,
   * it goes on near where it was.
   * @param to end of what is to be zeroed: what is behind it reads as zeros
   */
  protected async zeroGrown(extended: LogicalVolume, wiper: Pick<Wiper, 'zero'>, to: number, signal: AbortSignal): Promise<BackingVolume> {
    if (!isUnclean(extended)) return this.backing(extended);
    const from = cleanBytes(extended);
    // A wipe from there would destroy the data.
    if (from === 0) throw unreadable(extended, this.#pathOf(uidOf(extended)));
    const { volume } = await notingProgress({ group: this.group, volume: extended, prefix: TAG_CLEAN, signal }, async (onZeroed) => {
      if (from < to) await wiper.zero(this.path(uidOf(extended)), { from, to }, { onZeroed, signal });
    });
    return this.backing(await this.group.mark({ volume, ...tagsOfGrown(volume) }, signal));
  }

  async exportTail(uid: string, signal: AbortSignal): Promise<BackingVolume> {
    const volume = await this.#find(uid, 0, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished before it was tagged`);
    const off = tagsOfTail(volume);
    return this.backing(off.length === 0 ? volume : await this.group.mark({ volume, off, on: [] }, signal));
  }

  /** A volume of ours that can be read and written. @throws BackendError when there is none */
  protected async active(uid: string, signal: AbortSignal): Promise<LogicalVolume> {
    const found = await this.#find(uid, 0, signal);
    const volume = found && (await this.#activated(uid, found, signal));
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished while it was made`);
    return volume;
  }

  async noteMoves(uid: string, moves: number, signal: AbortSignal): Promise<void> {
    const volume = await this.#find(uid, FRESH_MS, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished before it was tagged`);
    await this.group.mark({ volume, off: tagsOf(volume, TAG_MOVES), on: [`${TAG_MOVES}${moves}`] }, signal);
  }

  async finishCopy(uid: string, signal: AbortSignal): Promise<void> {
    const volume = await this.#find(uid, FRESH_MS, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#pathOf(uid)} vanished before its data was whole`);
    const off = tagsOf(volume, TAG_COPY);
    if (off.length > 0) await this.group.mark({ volume, off, on: [] }, signal);
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    if (await this.#find(uid, FRESH_MS, signal)) await this.group.remove(nameOf(uid), signal);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    if (await this.#release(checkUid(uid), signal)) return;
    const volume = await this.#find(uid, FRESH_MS, signal);
    if (volume) await this.group.mark({ volume, off: [TAG, ...tagsOfEmptyTail(volume)], on: [TAG_RETAINED] }, signal);
  }

  /** The volumes of this pool in a group. */
  protected ours(group: VolumeGroup): LogicalVolume[] {
    return group.volumes.filter((volume) => this.#isOurs(volume));
  }

  #isOurs(volume: LogicalVolume): boolean {
    const { name, tags } = volume;
    if (!name.startsWith(PREFIX) || kindOf(uidOf(volume)) !== 'volume' || !tags.includes(TAG)) return false;
    const pool = tags.find((tag) => tag.startsWith(TAG_POOL))?.slice(TAG_POOL.length) ?? this.#pool;
    return pool === this.#pool && this.accepts(volume);
  }

  /** Our volume as it is known; one that is not known is looked for in a report of at most this age. */
  async #find(uid: string, maxAgeMs: number, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    const name = nameOf(uid);
    const known = this.#known(name);
    if (known) return known;
    // Out of this report: the group may forget it again as soon as its turn has ended, when the next command reports or fails.
    const group = await this.group.read(maxAgeMs, signal);
    return this.ours(group).find((volume) => volume.name === name);
  }

  #known(name: string): LogicalVolume | undefined {
    const volume = this.group.get(name);
    return volume && this.#isOurs(volume) ? volume : undefined;
  }

  async #make(asked: CreateRequest, signal: AbortSignal): Promise<LogicalVolume> {
    const name = nameOf(asked.uid);
    const group = await this.group.readInTurn(Number.POSITIVE_INFINITY, signal);
    const { extent } = group;
    const existing = this.#known(name);
    if (existing) return existing;
    const exported = roundUp(asked.bytes, extent);
    const tail = asked.tail ? tailFor(group) : 0;
    const request = tail > 0 ? { ...asked, bytes: exported + tail } : asked;
    await this.admit(request, signal);
    const copy = request.copy === undefined ? [] : [`${TAG_COPY}${request.copy}`];
    const tags = [
      TAG,
      `${TAG_VOLUME}${request.name}`,
      `${TAG_POOL}${this.#pool}`,
      ...this.initialTags,
      ...copy,
      ...(tail > 0 ? tailTags({ exported, tail }) : []),
    ];
    const args = ['--name', name, ...tags.flatMap((tag) => ['--addtag', tag]), ...this.createArgs(request)];
    try {
      await this.group.change('lvcreate', args);
    } catch (error) {
      const problem = failed(`creating logical volume ${this.#pathOf(request.uid)}`, error);
      if (problem.reason === 'PoolFull') throw problem;
      // The command may have succeeded, and its answer be lost. A volume of that name that is not ours lacks our tags, and is not used.
      await this.group.report(signal);
      const made = this.#known(name);
      if (!made) throw problem;
      return made;
    }
    const volume = { name, bytes: roundUp(request.bytes, extent), tags, active: true, zeroes: false, health: '', ...this.kind };
    this.group.note(volume);
    return volume;
  }

  /** The volume once it is active and its device node exists; undefined when there is no such volume any more. */
  async #activated(uid: string, volume: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    if (volume.active && (await this.#hasDevice(this.path(uid)))) return volume;
    return await this.group.turn(() => this.#activate(uid, signal), signal);
  }

  /** Takes TAG_NEW off, and notes how far the volume was wiped. */
  async #markReady(volume: LogicalVolume, cleanness: Cleanness | undefined, signal: AbortSignal): Promise<BackingVolume> {
    const on = cleanness === undefined || cleanness === 'zeroed' ? [] : [`${TAG_WIPED}${cleanness}`];
    return this.backing(await this.group.mark({ volume, off: [TAG_NEW, ...tagsOf(volume, TAG_ZEROED)], on }, signal));
  }

  async #activate(uid: string, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    await this.group.report(signal);
    const volume = this.#known(nameOf(uid));
    if (!volume) return undefined;
    if (volume.active && (await this.#hasDevice(this.path(uid)))) return volume;
    const doing = `activating logical volume ${this.#pathOf(uid)}`;
    try {
      await this.group.change('lvchange', ['--activate', 'y', '--ignoreactivationskip', this.#pathOf(uid)]);
      // Active, but without a device node: it was made while another /dev was mounted, or was lost with it.
      if (!(await this.#hasDevice(this.path(uid)))) await this.group.change('vgmknodes', [this.group.name]);
    } catch (error) {
      throw failed(doing, error);
    }
    if (!(await this.#hasDevice(this.path(uid)))) throw new BackendError('BackendFailed', `${doing}: ${this.path(uid)} did not appear`);
    const active = { ...volume, active: true };
    this.group.note(active);
    return active;
  }

  #pathOf(uid: string): string {
    return this.group.pathOf(nameOf(uid));
  }

  protected backing(volume: LogicalVolume): BackingVolume {
    const { name, tags } = volume;
    const [wiped, copy, adopted] = [TAG_WIPED, TAG_COPY, TAG_ADOPTED].map((prefix) => tagged(volume, prefix));
    const moves = Number(tagged(volume, TAG_MOVES) ?? 0);
    const [bytes, tail] = [exportedBytes(volume), tailBytes(volume)];
    return {
      uid: uidOf(volume),
      volume: tagged(volume, TAG_VOLUME),
      name: this.group.pathOf(name),
      bytes,
      ...(bytes < volume.bytes - tail ? { extended: volume.bytes - tail } : {}),
      ...(tail > 0 ? { tail } : {}),
      ...(Number.isSafeInteger(moves) && moves > 0 ? { moves } : {}),
      ...(tags.includes(TAG_NEW) ? { unwiped: true as const } : {}),
      ...(copy === undefined ? {} : { copy }),
      ...(adopted === undefined ? {} : { adopted: this.group.pathOf(adopted) }),
      ...(wiped === 'ends' || wiped === 'discarded' ? { cleanness: wiped } : {}),
    };
  }
}
