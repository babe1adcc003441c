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
} from '../backend.ts';
import { failed, type LvmCli } from './cli.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import type { WipeRange } from './wipe.ts';

/** On every logical volume of ours. */
export const TAG = 'aoe.dev';
/** Made, but it may still hold another volume's old data: it is wiped before its first export, however often we crash before that. */
export const TAG_NEW = 'aoe.dev/new';
const TAG_VOLUME = 'aoe.dev/volume=';
const TAG_POOL = 'aoe.dev/pool=';
/** How far a volume was wiped; absent when all of it was zeroed. */
const TAG_WIPED = 'aoe.dev/wiped=';
/**
 * While a volume grows: what lies behind this many bytes may still be another volume's old data. Until that is wiped and the tag is taken
 * off, the volume has only these bytes.
 */
const TAG_CLEAN = 'aoe.dev/clean=';
const TAG_RETAINED = 'aoe.dev/retained';
const PREFIX = 'aoe-';
/** Bytes that are wiped between two notes of how far a wipe has come. */
const WIPE_STEP = 16 * 1024 ** 3;
const RECENT_MS = 5_000;
/** A volume group that is missing is not looked for more often than this, however many volumes ask for it. */
const MISSING_MS = 1_000;

/** Whether a device node exists. */
export type HasDevice = (path: string) => Promise<boolean>;

export interface LvmOptions {
  lvm: LvmCli;
  /** Name of the AoEPool: two pools may share a volume group. */
  pool: string;
  group: string;
  hasDevice: HasDevice;
}

/** What linear and thin volumes have in common: found by name and tag, kept in a cached report, activated when inactive. */
export abstract class LvmBase implements Backend {
  protected readonly lvm: LvmCli;
  protected readonly group: string;
  readonly #pool: string;
  readonly #hasDevice: HasDevice;
  /** Our volumes by UID, as last reported or made; undefined after a command that failed, until the next report. */
  #known: Map<string, LogicalVolume> | undefined;
  /** VolumeReconciler that are ready and wait for TAG_NEW to be taken off, with the tag to add at the same time, if any. */
  readonly #unmarked = new Map<string, { volume: LogicalVolume; add: string | undefined }>();
  #missing: { error: BackendError; at: number } | undefined;
  #last: { group: VolumeGroup; at: number } | undefined;

  constructor({ lvm, pool, group, hasDevice }: LvmOptions) {
    this.lvm = lvm;
    this.group = group;
    this.#pool = pool;
    this.#hasDevice = hasDevice;
  }

  /** Tags of a new volume, beside those that name it: TAG_NEW where it may hold old data. */
  protected readonly initialTags: readonly string[] = [];
  /** Whether a logical volume is of this backend's type. */
  protected abstract accepts(volume: LogicalVolume): boolean;
  /** Arguments of lvcreate after name and tags. */
  protected abstract createArgs(request: CreateRequest): string[];
  /** Refuses when the pool cannot take a new volume. */
  protected abstract admit(request: CreateRequest, signal: AbortSignal): Promise<void>;
  protected abstract measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes'>;

  path(uid: string): string {
    return `/dev/${this.group}/${PREFIX}${checkUid(uid)}`;
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      return await this.#turn(async () => {
        const group = await this.report(signal);
        const volumes = [...(this.#known ?? [])].map(([uid, volume]) => this.backing(uid, volume));
        return { ...this.measurement(group, [...(this.#known?.values() ?? [])]), volumes };
      }, signal);
    } catch (error) {
      if (error instanceof BackendError) return { ready: false, message: error.message, size: 0, free: 0, granularity: 1, volumes: [] };
      throw error;
    }
  }

  async open(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
    const found = await this.#turn(() => this.#find(uid, signal), signal);
    const volume = found && (await this.#activated(uid, found, signal));
    if (!volume) return undefined;
    // It was exported before, so it holds data. TAG_NEW can only come from restored LVM metadata, and must not lead to a wipe.
    if (volume.tags.includes(TAG_NEW)) return await this.#markReady(uid, volume, undefined, signal);
    return this.backing(uid, volume);
  }

  async namesakes({ uid, name }: Pick<CreateRequest, 'uid' | 'name'>, signal: AbortSignal): Promise<BackingVolume[]> {
    await this.#turn(() => this.recent(signal), signal);
    if (this.#known?.has(uid)) return [];
    return [...(this.#known ?? [])].map(([other, volume]) => this.backing(other, volume)).filter(({ volume }) => volume === name);
  }

  async create(request: CreateRequest, signal: AbortSignal): Promise<BackingVolume> {
    const uid = checkUid(request.uid);
    const made = await this.#turn(() => this.#make(request, signal), signal);
    const volume = await this.#activated(uid, made, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#name(uid)} vanished while it was made`);
    return this.backing(uid, volume);
  }

  /** Wipes a volume that has TAG_NEW, and replaces the tag by how far that went. */
  protected async wipeNew(
    uid: string,
    wipe: (path: string, bytes: number, signal: AbortSignal) => Promise<Cleanness>,
    signal: AbortSignal,
  ): Promise<BackingVolume> {
    const volume = await this.#turn(() => this.#find(uid, signal), signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${this.#name(uid)} vanished before it was wiped`);
    if (!volume.tags.includes(TAG_NEW)) return this.backing(uid, volume);
    const cleanness = await wipe(this.path(uid), volume.bytes, signal);
    return await this.#markReady(uid, volume, cleanness, signal);
  }

  /**
   * Extends a volume to at least this size. Its new part is not wiped.
   * @param marksNew note how much of it is clean, before it is extended: see {@link wipeGrown}
   */
  protected async extend(uid: string, bytes: number, { marksNew }: { marksNew: boolean }, signal: AbortSignal): Promise<LogicalVolume> {
    return await this.#turn(async () => {
      const { extent } = await this.report(signal);
      const found = this.#known?.get(uid);
      if (!found) throw new BackendError('BackendFailed', `logical volume ${this.#name(uid)} vanished before it was extended`);
      const size = roundUp(bytes, extent);
      if (found.bytes >= size) return found;
      await this.admit({ uid, name: '', bytes: size - found.bytes }, signal);
      const volume = marksNew ? await this.#noteClean(uid, found, cleanBytes(found)) : found;
      try {
        await this.#change('lvextend', ['--size', `${size}b`, this.#name(uid)]);
      } catch (error) {
        throw this.#isFull(error, size - found.bytes) ?? failed(`extending logical volume ${this.#name(uid)}`, error);
      }
      const extended = { ...volume, bytes: size };
      this.#known?.set(uid, extended);
      return extended;
    }, signal);
  }

  /** Wipes what {@link extend} has added, a part at a time: a wipe that was cut short goes on where it was. */
  protected async wipeGrown(uid: string, extended: LogicalVolume, wipe: WipeRange, signal: AbortSignal): Promise<BackingVolume> {
    let volume = extended;
    while (cleanBytes(volume) < volume.bytes) {
      const from = cleanBytes(volume);
      const to = Math.min(volume.bytes, from + WIPE_STEP);
      await wipe(this.path(uid), { from, to }, signal);
      const seen = volume;
      volume = await this.#turn(() => this.#noteClean(uid, seen, to < seen.bytes ? to : undefined), signal);
    }
    return this.backing(uid, volume);
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    await this.#turn(async () => {
      if (!(await this.#find(uid, signal))) return;
      try {
        await this.#change('lvremove', [this.#name(uid)]);
      } catch (error) {
        if (!(await this.#find(uid, signal))) return;
        const doing = `removing logical volume ${this.#name(uid)}`;
        if (/in use|used by|busy/i.test(stderrOf(error))) {
          throw new BackendError('BackingBusy', `${doing}: a process on this node still has it open; the removal is tried again`, {
            cause: error,
          });
        }
        throw failed(doing, error);
      }
      this.#known?.delete(uid);
      this.#unmarked.delete(uid);
    }, signal);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    await this.#turn(async () => {
      if (!(await this.#find(uid, signal))) return;
      try {
        await this.#change('lvchange', ['--addtag', TAG_RETAINED, '--deltag', TAG, this.#name(uid)]);
      } catch (error) {
        throw failed(`keeping logical volume ${this.#name(uid)}`, error);
      }
      this.#known?.delete(uid);
      this.#unmarked.delete(uid);
    }, signal);
  }

  /** Reads the group and our volumes in it. Call it in the group's turn. */
  protected async report(signal: AbortSignal): Promise<VolumeGroup> {
    this.#known = undefined;
    if (this.#missing && performance.now() - this.#missing.at < MISSING_MS) throw this.#missing.error;
    const group = await this.lvm.report(this.group, signal).catch((error: unknown) => {
      if (error instanceof BackendError && error.reason === 'PoolMissing') this.#missing = { error, at: performance.now() };
      throw error;
    });
    this.#last = { group, at: performance.now() };
    const ours = group.volumes.filter((volume) => this.#isOurs(volume) && kindOf(volume.name.slice(PREFIX.length)) === 'volume');
    this.#known = new Map(ours.map((volume) => [volume.name.slice(PREFIX.length), volume]));
    return group;
  }

  /** The group and our volumes, read at most RECENT_MS ago; our own changes since then are included. Call it in the group's turn. */
  protected async recent(signal: AbortSignal): Promise<{ group: VolumeGroup; ours: LogicalVolume[] }> {
    const fresh = this.#known && this.#last && performance.now() - this.#last.at < RECENT_MS;
    const group = fresh && this.#last ? this.#last.group : await this.report(signal);
    return { group, ours: [...(this.#known?.values() ?? [])] };
  }

  #isOurs({ name, tags, ...rest }: LogicalVolume): boolean {
    const pool = tags.find((tag) => tag.startsWith(TAG_POOL))?.slice(TAG_POOL.length) ?? this.#pool;
    return name.startsWith(PREFIX) && tags.includes(TAG) && pool === this.#pool && this.accepts({ name, tags, ...rest });
  }

  async #make(request: CreateRequest, signal: AbortSignal): Promise<LogicalVolume> {
    if (!this.#known) await this.report(signal);
    const existing = this.#known?.get(request.uid);
    if (existing) return existing;
    await this.admit(request, signal);
    const tags = [TAG, `${TAG_VOLUME}${request.name}`, `${TAG_POOL}${this.#pool}`, ...this.initialTags];
    const args = ['--name', `${PREFIX}${request.uid}`, ...tags.flatMap((tag) => ['--addtag', tag]), ...this.createArgs(request)];
    try {
      await this.#change('lvcreate', args);
    } catch (error) {
      const full = this.#isFull(error, request.bytes);
      if (full) throw full;
      // The command may have succeeded, and its answer be lost. A foreign volume of that name lacks our tags, and is not used.
      await this.report(signal);
      if (!this.#known?.has(request.uid)) throw failed(`creating logical volume ${this.#name(request.uid)}`, error);
    }
    const made = this.#known?.get(request.uid);
    if (made) return made;
    const bytes = roundUp(request.bytes, this.#last?.group.extent ?? 512);
    const volume = { name: `${PREFIX}${request.uid}`, bytes, tags, active: true, layout: [], zeroes: false, health: '' };
    this.#known?.set(request.uid, volume);
    return volume;
  }

  /** The volume once it is active and its device node exists; undefined when there is no such volume any more. */
  async #activated(uid: string, volume: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    if (volume.active && (await this.#hasDevice(this.path(uid)))) return volume;
    return await this.#turn(() => this.#activate(uid, signal), signal);
  }

  /** Takes TAG_NEW off, and notes how far the volume was wiped. One command does so for all volumes that wait for the group's turn. */
  async #markReady(uid: string, seen: LogicalVolume, cleanness: Cleanness | undefined, signal: AbortSignal): Promise<BackingVolume> {
    const add = cleanness === undefined || cleanness === 'zeroed' ? undefined : `${TAG_WIPED}${cleanness}`;
    const volume = { ...seen, tags: [...seen.tags.filter((tag) => tag !== TAG_NEW), ...(add ? [add] : [])] };
    this.#unmarked.set(uid, { volume, add });
    await this.#turn(async () => {
      if (!this.#unmarked.has(uid)) return;
      const batch = [...this.#unmarked].filter(([, other]) => other.add === add);
      for (const [each] of batch) this.#unmarked.delete(each);
      const tags = ['--deltag', TAG_NEW, ...(add ? ['--addtag', add] : [])];
      try {
        await this.#change('lvchange', [...tags, ...batch.map(([each]) => this.#name(each))]);
      } catch (error) {
        // The failure may be about another volume of the batch: each of them tries again by itself.
        for (const [each, state] of batch) if (each !== uid) this.#unmarked.set(each, state);
        throw failed(`marking logical volume ${this.#name(uid)} as ready`, error);
      }
      for (const [each, state] of batch) this.#known?.set(each, state.volume);
    }, signal);
    return this.backing(uid, volume);
  }

  async #find(uid: string, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    if (!this.#known?.has(uid)) await this.report(signal);
    return this.#known?.get(uid);
  }

  async #activate(uid: string, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    await this.report(signal);
    const volume = this.#known?.get(uid);
    if (!volume) return undefined;
    if (volume.active && (await this.#hasDevice(this.path(uid)))) return volume;
    const doing = `activating logical volume ${this.#name(uid)}`;
    try {
      await this.#change('lvchange', ['--activate', 'y', '--ignoreactivationskip', this.#name(uid)]);
      // Active, but without a device node: it was made while another /dev was mounted, or was lost with it.
      if (!(await this.#hasDevice(this.path(uid)))) await this.#change('vgmknodes', [this.group]);
    } catch (error) {
      throw failed(doing, error);
    }
    if (!(await this.#hasDevice(this.path(uid)))) throw new BackendError('BackendFailed', `${doing}: ${this.path(uid)} did not appear`);
    const active = { ...volume, active: true };
    this.#known?.set(uid, active);
    return active;
  }

  /** Notes with a volume how many of its bytes are clean; undefined: all. Call it in the group's turn. */
  async #noteClean(uid: string, volume: LogicalVolume, bytes: number | undefined): Promise<LogicalVolume> {
    const before = volume.tags.filter((tag) => tag.startsWith(TAG_CLEAN));
    const after = bytes === undefined ? [] : [`${TAG_CLEAN}${bytes}`];
    if (before.join() === after.join()) return volume;
    const args = [...before.flatMap((tag) => ['--deltag', tag]), ...after.flatMap((tag) => ['--addtag', tag])];
    try {
      await this.#change('lvchange', [...args, this.#name(uid)]);
    } catch (error) {
      throw failed(`noting what of logical volume ${this.#name(uid)} is wiped`, error);
    }
    const marked = { ...volume, tags: [...volume.tags.filter((tag) => !before.includes(tag)), ...after] };
    this.#known?.set(uid, marked);
    return marked;
  }

  /** The error when LVM has refused a command for want of room. */
  #isFull(error: unknown, bytes: number): BackendError | undefined {
    const said = stderrOf(error);
    if (!/insufficient (suitable )?(allocatable|free) (space|extents)|insufficient free space/i.test(said)) return undefined;
    return new BackendError('PoolFull', `volume group ${this.group} does not have ${bytes} bytes free: ${said.trim()}`, { cause: error });
  }

  async #change(command: string, args: string[]): Promise<void> {
    try {
      await this.lvm.change(this.group, command, args);
    } catch (error) {
      this.#known = undefined;
      throw error;
    }
  }

  #turn<R>(task: () => Promise<R>, signal: AbortSignal): Promise<R> {
    return this.lvm.mutex(this.group).run(task, signal);
  }

  #name(uid: string): string {
    return `${this.group}/${PREFIX}${uid}`;
  }

  protected backing(uid: string, volume: LogicalVolume): BackingVolume {
    const { tags } = volume;
    const tagged = (prefix: string): string | undefined => tags.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
    const wiped = tagged(TAG_WIPED);
    return {
      uid,
      volume: tagged(TAG_VOLUME),
      name: this.#name(uid),
      bytes: cleanBytes(volume),
      ...(tags.includes(TAG_NEW) ? { unwiped: true as const } : {}),
      ...(wiped === 'ends' || wiped === 'discarded' ? { cleanness: wiped } : {}),
    };
  }
}

/** The part of a volume from its start that may be exported: all of it, unless it is growing. */
function cleanBytes({ bytes, tags }: LogicalVolume): number {
  const tag = tags.find((each) => each.startsWith(TAG_CLEAN));
  return tag === undefined ? bytes : Math.min(bytes, Number(tag.slice(TAG_CLEAN.length)));
}
