import { stderrOf } from '../../../run/exec.ts';
import { type Backend, BackendError, type BackingVolume, type CreateRequest, checkUid, type Measurement, roundUp } from '../backend.ts';
import { failed, type Lvm } from './cli.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';

/** On every logical volume of ours. */
export const TAG = 'aoe.dev';
/** Made, but perhaps still with another volume's old data: wiped before it is first served, however often we crash. */
export const TAG_NEW = 'aoe.dev/new';
const TAG_VOLUME = 'aoe.dev/volume=';
const TAG_POOL = 'aoe.dev/pool=';
const TAG_RETAINED = 'aoe.dev/retained';
const PREFIX = 'aoe-';
const RECENT_MS = 5_000;
/** A missing group is not looked for more often than this, however many volumes ask for it. */
const MISSING_MS = 1_000;

/** Whether a device node is there. */
export type HasDevice = (path: string) => Promise<boolean>;

export interface LvmOptions {
  lvm: Lvm;
  /** Name of the AoEPool: two pools may share a group. */
  pool: string;
  group: string;
  hasDevice: HasDevice;
}

/** What linear and thin volumes have in common: found by name and tag, kept in a cached report, activated when inactive. */
export abstract class LvmBase implements Backend {
  protected readonly lvm: Lvm;
  protected readonly group: string;
  readonly #pool: string;
  readonly #hasDevice: HasDevice;
  /** Our volumes by UID as last reported or made; undefined when a command failed and it must be read anew. */
  #known: Map<string, LogicalVolume> | undefined;
  /** Wiped, and waiting to be marked so. */
  readonly #wiped = new Map<string, LogicalVolume>();
  #missing: { error: BackendError; at: number } | undefined;
  #last: { group: VolumeGroup; at: number } | undefined;

  constructor({ lvm, pool, group, hasDevice }: LvmOptions) {
    this.lvm = lvm;
    this.group = group;
    this.#pool = pool;
    this.#hasDevice = hasDevice;
  }

  /** Whether a logical volume is of this backend's sort. */
  protected abstract accepts(volume: LogicalVolume): boolean;
  /** Arguments of lvcreate after name and tags. */
  protected abstract createArgs(request: CreateRequest): string[];
  /** Refuses when the pool cannot take a new volume. */
  protected abstract admit(request: CreateRequest, signal: AbortSignal): Promise<void>;
  protected abstract measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes'>;
  /** Wipes a volume that still has TAG_NEW, before the tag is taken off. Absent where new volumes are clean from the start. */
  protected clean?(volume: BackingVolume, path: string, signal: AbortSignal): Promise<void>;

  path(uid: string): string {
    return `/dev/${this.group}/${PREFIX}${checkUid(uid)}`;
  }

  async list(signal: AbortSignal): Promise<BackingVolume[]> {
    return this.#turn(async () => {
      await this.report(signal);
      return this.#backings();
    }, signal);
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      return await this.#turn(async () => {
        const group = await this.report(signal);
        return { ...this.measurement(group, [...(this.#known?.values() ?? [])]), volumes: this.#backings() };
      }, signal);
    } catch (error) {
      if (error instanceof BackendError) return { ready: false, message: error.message, size: 0, free: 0, granularity: 1, volumes: [] };
      throw error;
    }
  }

  async open(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
    const volume = await this.#turn(() => this.#find(uid, signal), signal);
    // It was served before: a mark on it is that of restored metadata, and what it holds is data.
    return volume && this.#finish(uid, volume, { wipe: false }, signal);
  }

  async create(request: CreateRequest, signal: AbortSignal): Promise<BackingVolume> {
    checkUid(request.uid);
    const volume = await this.#turn(() => this.#make(request, signal), signal);
    const backing = await this.#finish(request.uid, volume, { wipe: true }, signal);
    if (backing) return backing;
    throw new BackendError('BackendFailed', `logical volume ${this.#name(request.uid)} vanished while it was made`);
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
          throw new BackendError('BackingBusy', `${doing}: a process on this node still has it open; it is tried again`, { cause: error });
        }
        throw failed(doing, error);
      }
      this.#known?.delete(uid);
      this.#wiped.delete(uid);
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
      this.#wiped.delete(uid);
    }, signal);
  }

  /** Reads the group, and with it what we know of our volumes. Call it in the group's turn. */
  protected async report(signal: AbortSignal): Promise<VolumeGroup> {
    this.#known = undefined;
    if (this.#missing && performance.now() - this.#missing.at < MISSING_MS) throw this.#missing.error;
    const group = await this.lvm.report(this.group, signal).catch((error: unknown) => {
      if (error instanceof BackendError && error.reason === 'PoolMissing') this.#missing = { error, at: performance.now() };
      throw error;
    });
    this.#last = { group, at: performance.now() };
    const ours = group.volumes.filter((volume) => this.#isOurs(volume));
    this.#known = new Map(ours.map((volume) => [volume.name.slice(PREFIX.length), volume]));
    return group;
  }

  /** The group and our volumes, at most a few seconds old but for what we changed ourselves. Call it in the group's turn. */
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
    const tags = [TAG, `${TAG_VOLUME}${request.name}`, `${TAG_POOL}${this.#pool}`, ...(this.clean ? [TAG_NEW] : [])];
    const args = ['--name', `${PREFIX}${request.uid}`, ...tags.flatMap((tag) => ['--addtag', tag]), ...this.createArgs(request)];
    try {
      await this.#change('lvcreate', args);
    } catch (error) {
      const said = stderrOf(error);
      if (/insufficient (suitable )?(allocatable|free) (space|extents)|insufficient free space/i.test(said)) {
        throw new BackendError('PoolFull', `volume group ${this.group} has not ${request.bytes} bytes free: ${said.trim()}`, {
          cause: error,
        });
      }
      // Made by a command whose answer was lost, or under our name by somebody else: then it lacks our tags and is not taken.
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

  /** Activates it, wipes it when it is new, and takes that mark off, as far as it is still to be done. */
  async #finish(uid: string, seen: LogicalVolume, { wipe }: { wipe: boolean }, signal: AbortSignal): Promise<BackingVolume | undefined> {
    let volume = seen;
    const path = this.path(uid);
    if (!volume.active || !(await this.#hasDevice(path))) {
      const current = await this.#turn(() => this.#activate(uid, signal), signal);
      if (!current) return undefined;
      volume = current;
    }
    if (!volume.tags.includes(TAG_NEW)) return this.#backing(uid, volume);
    if (wipe) await this.clean?.(this.#backing(uid, volume), path, signal);
    return this.#backing(uid, await this.#markClean(uid, volume, signal));
  }

  /** Takes TAG_NEW off; of all that wait for the group's turn at once, with one command. */
  async #markClean(uid: string, volume: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume> {
    const clean = { ...volume, tags: volume.tags.filter((tag) => tag !== TAG_NEW) };
    this.#wiped.set(uid, clean);
    await this.#turn(async () => {
      if (!this.#wiped.has(uid)) return;
      const batch = [...this.#wiped];
      this.#wiped.clear();
      try {
        await this.#change('lvchange', ['--deltag', TAG_NEW, ...batch.map(([each]) => this.#name(each))]);
      } catch (error) {
        // The others try by themselves: it may be about one of the batch only.
        for (const [each, state] of batch) if (each !== uid) this.#wiped.set(each, state);
        throw failed(`marking logical volume ${this.#name(uid)} as clean`, error);
      }
      for (const [each, state] of batch) this.#known?.set(each, state);
    }, signal);
    return clean;
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
      // Active, yet without a node: made while another /dev was mounted, or lost with it.
      if (!(await this.#hasDevice(this.path(uid)))) await this.#change('vgmknodes', [this.group]);
    } catch (error) {
      throw failed(doing, error);
    }
    if (!(await this.#hasDevice(this.path(uid)))) throw new BackendError('BackendFailed', `${doing}: ${this.path(uid)} did not appear`);
    const active = { ...volume, active: true };
    this.#known?.set(uid, active);
    return active;
  }

  async #change(command: string, args: string[]): Promise<void> {
    try {
      await this.lvm.change(command, args);
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

  #backings(): BackingVolume[] {
    return [...(this.#known ?? [])].map(([uid, volume]) => this.#backing(uid, volume));
  }

  #backing(uid: string, { bytes, tags }: LogicalVolume): BackingVolume {
    const volume = tags.find((tag) => tag.startsWith(TAG_VOLUME))?.slice(TAG_VOLUME.length);
    return { uid, volume, name: this.#name(uid), bytes };
  }
}
