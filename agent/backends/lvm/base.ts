import { stderrOf } from '../../../run/exec.ts';
import {
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
import type { LvmCli } from './cli.ts';
import { failed } from './failed.ts';
import { type LvmGroup, TAG } from './group.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import type { WipeOptions, Wiper } from './wipe.ts';

/** Made, but it may still hold another volume's old data: it is wiped before its first export, however often we crash before that. */
export const TAG_NEW = 'aoe.dev/new';
export const TAG_VOLUME = 'aoe.dev/volume=';
export const TAG_POOL = 'aoe.dev/pool=';
/** How far a volume was wiped; absent when all of it was zeroed. */
const TAG_WIPED = 'aoe.dev/wiped=';
/** While a new volume is zeroed: this many bytes from its start are zeros on stable storage. */
const TAG_ZEROED = 'aoe.dev/zeroed=';
/**
 * While a volume grows: what lies behind this many bytes may still be another volume's old data. Until that is wiped and the tag is taken
 * off, the volume has only these bytes.
 */
const TAG_CLEAN = 'aoe.dev/clean=';
/** How often the AoEVolume had been moved when the volume was served here; absent for 0. */
const TAG_MOVES = 'aoe.dev/moves=';
/** Data is copied into the volume, and is not known to be whole. */
const TAG_COPY = 'aoe.dev/copy=';
/** Prefix of a tag that ends with a number of bytes from the start of its volume. */
type BytesPrefix = typeof TAG_ZEROED | typeof TAG_CLEAN;
export const TAG_RETAINED = 'aoe.dev/retained';
export const PREFIX = 'aoe-';
/**
 * How old a report of the group may be for its size, its free space, and for what is not in it. Our own changes are included at once,
 * so this is for changes by others.
 */
const FRESH_MS = 30_000;

/** Bytes that are zeroed before TAG_ZEROED or TAG_CLEAN is updated. */
const NOTE_ZEROED_EVERY = 32 * 1024 ** 3;

/** Whether a device node exists. */
export type HasDevice = (path: string) => Promise<boolean>;

export interface LvmOptions {
  lvm: LvmCli;
  /** Name of the AoEPool: two pools may share a volume group. */
  pool: string;
  group: string;
  hasDevice: HasDevice;
}

/** What linear and thin volumes have in common: found by name and tag in the group's report, activated when inactive. */
export abstract class LvmBase implements Backend {
  protected readonly group: LvmGroup;
  readonly #pool: string;
  readonly #hasDevice: HasDevice;

  constructor({ lvm, pool, group, hasDevice }: LvmOptions) {
    this.group = lvm.group(group);
    this.#pool = pool;
    this.#hasDevice = hasDevice;
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
  protected abstract measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes'>;

  path(uid: string): string {
    return `/dev/${this.group.pathOf(nameOf(uid))}`;
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      const group = await this.group.read(FRESH_MS, signal);
      const ours = this.ours(group);
      return { ...this.measurement(group, ours), volumes: ours.map((volume) => this.backing(volume)) };
    } catch (error) {
      if (error instanceof BackendError) return { ready: false, message: error.message, size: 0, free: 0, granularity: 1, volumes: [] };
      throw error;
    }
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
    let volume = found;
    const { bytes } = found;
    const onZeroed = async (zeroed: number): Promise<void> => {
      onProgress({ zeroed, bytes });
      volume = await this.#noteProgress(volume, TAG_ZEROED, zeroed, signal);
    };
    const from = bytesTag(found, TAG_ZEROED) ?? 0;
    onProgress({ zeroed: from, bytes });
    const cleanness = await wipe(this.path(uid), bytes, { from, onZeroed, signal });
    return await this.#markReady(volume, cleanness, signal);
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
    if (cleanBytes(found) === 0) {
      const message = `tag ${TAG_CLEAN}… of logical volume ${this.#pathOf(uid)} is not the size of a part of it: set it to the size that the volume had before it grew`;
      throw new BackendError('BackendFailed', message);
    }
    const size = roundUp(bytes, extent);
    if (found.bytes >= size) return found;
    const volume = marksNew ? await this.#noteBytes(found, TAG_CLEAN, cleanBytes(found), signal) : found;
    return await this.group.turn(async () => {
      await this.admit({ uid, name: '', bytes: size - found.bytes }, signal);
      try {
        await this.group.change('lvextend', ['--size', `${size}b`, this.#pathOf(uid)]);
      } catch (error) {
        throw this.#fullError(error, size - found.bytes) ?? failed(`extending logical volume ${this.#pathOf(uid)}`, error);
      }
      const extended = { ...volume, bytes: size };
      this.group.note(extended);
      return extended;
    }, signal);
  }

  /** Zeroes what {@link extend} has added. When it is cut short, it goes on near where it was. */
  protected async zeroGrown(extended: LogicalVolume, wiper: Pick<Wiper, 'zero'>, signal: AbortSignal): Promise<BackingVolume> {
    let volume = extended;
    const { bytes } = volume;
    const onZeroed = async (end: number): Promise<void> => {
      volume = await this.#noteProgress(volume, TAG_CLEAN, end, signal);
    };
    if (cleanBytes(volume) < bytes)
      await wiper.zero(this.path(uidOf(volume)), { from: cleanBytes(volume), to: bytes }, { onZeroed, signal });
    return this.backing(await this.#noteBytes(volume, TAG_CLEAN, undefined, signal));
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
    const volume = await this.#find(uid, FRESH_MS, signal);
    if (volume) await this.group.mark({ volume, off: [TAG], on: [TAG_RETAINED] }, signal);
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

  async #make(request: CreateRequest, signal: AbortSignal): Promise<LogicalVolume> {
    const name = nameOf(request.uid);
    const { extent } = await this.group.readInTurn(Number.POSITIVE_INFINITY, signal);
    const existing = this.#known(name);
    if (existing) return existing;
    await this.admit(request, signal);
    const copy = request.copy === undefined ? [] : [`${TAG_COPY}${request.copy}`];
    const tags = [TAG, `${TAG_VOLUME}${request.name}`, `${TAG_POOL}${this.#pool}`, ...this.initialTags, ...copy];
    const args = ['--name', name, ...tags.flatMap((tag) => ['--addtag', tag]), ...this.createArgs(request)];
    try {
      await this.group.change('lvcreate', args);
    } catch (error) {
      const full = this.#fullError(error, request.bytes);
      if (full) throw full;
      // The command may have succeeded, and its answer be lost. A foreign volume of that name lacks our tags, and is not used.
      await this.group.report(signal);
      const made = this.#known(name);
      if (!made) throw failed(`creating logical volume ${this.#pathOf(request.uid)}`, error);
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

  /** Notes how far a wipe has come, when that is {@link NOTE_ZEROED_EVERY} further than the last note, and not the end. */
  async #noteProgress(volume: LogicalVolume, prefix: BytesPrefix, bytes: number, signal: AbortSignal): Promise<LogicalVolume> {
    const isDue = bytes < volume.bytes && bytes - (bytesTag(volume, prefix) ?? 0) >= NOTE_ZEROED_EVERY;
    return isDue ? await this.#noteBytes(volume, prefix, bytes, signal) : volume;
  }

  /** Writes the tag with this prefix; `undefined` removes it: all bytes are clean. */
  async #noteBytes(volume: LogicalVolume, prefix: BytesPrefix, bytes: number | undefined, signal: AbortSignal): Promise<LogicalVolume> {
    const off = tagsOf(volume, prefix);
    const on = bytes === undefined ? [] : [`${prefix}${bytes}`];
    return off.join() === on.join() ? volume : await this.group.mark({ volume, off, on }, signal);
  }

  /** The error to report when LVM refused a command because the group is full. */
  #fullError(error: unknown, bytes: number): BackendError | undefined {
    const said = stderrOf(error);
    if (!/insufficient (suitable )?(allocatable|free) (space|extents)|insufficient free space/i.test(said)) return undefined;
    const message = `volume group ${this.group.name} does not have ${bytes} bytes free: ${said.trim()}`;
    return new BackendError('PoolFull', message, { cause: error });
  }

  #pathOf(uid: string): string {
    return this.group.pathOf(nameOf(uid));
  }

  protected backing(volume: LogicalVolume): BackingVolume {
    const { name, tags } = volume;
    const tagged = (prefix: string): string | undefined => tagsOf(volume, prefix)[0]?.slice(prefix.length);
    const wiped = tagged(TAG_WIPED);
    const copy = tagged(TAG_COPY);
    const moves = Number(tagged(TAG_MOVES) ?? 0);
    const bytes = cleanBytes(volume);
    return {
      uid: uidOf(volume),
      volume: tagged(TAG_VOLUME),
      name: this.group.pathOf(name),
      bytes,
      ...(bytes < volume.bytes ? { extended: volume.bytes } : {}),
      ...(Number.isSafeInteger(moves) && moves > 0 ? { moves } : {}),
      ...(tags.includes(TAG_NEW) ? { unwiped: true as const } : {}),
      ...(copy === undefined ? {} : { copy }),
      ...(wiped === 'ends' || wiped === 'discarded' ? { cleanness: wiped } : {}),
    };
  }
}

/** The part of a volume from its start that may be exported: all of it, unless it is growing. 0 when its TAG_CLEAN cannot be read. */
function cleanBytes(volume: LogicalVolume): number {
  return bytesTag(volume, TAG_CLEAN) ?? volume.bytes;
}

/** The name of a volume's logical volume. */
function nameOf(uid: string): string {
  return `${PREFIX}${checkUid(uid)}`;
}

function uidOf({ name }: LogicalVolume): string {
  return name.slice(PREFIX.length);
}

function tagsOf({ tags }: LogicalVolume, prefix: string): string[] {
  return tags.filter((tag) => tag.startsWith(prefix));
}

/** The number of bytes in the tag with this prefix: 0 when it is no number, or not within the volume; undefined without such a tag. */
function bytesTag(volume: LogicalVolume, prefix: BytesPrefix): number | undefined {
  const [tag] = tagsOf(volume, prefix);
  if (tag === undefined) return undefined;
  const value = Number(tag.slice(prefix.length));
  return Number.isSafeInteger(value) && value >= 0 && value <= volume.bytes ? value : 0;
}
