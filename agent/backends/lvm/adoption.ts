import { formatQuantity } from '../../../api/quantity.ts';
import { type Adoption, type AdoptRequest, BackendError, type BackingVolume, kindOf, type OwnerOf } from '../backend.ts';
import type { IsClaimed } from '../device-use.ts';
import { failed } from './command/failed.ts';
import type { LvmGroup } from './group.ts';
import { checkMetadata } from './metadata-area.ts';
import type { LogicalVolume } from './report.ts';
import {
  nameOf,
  PREFIX,
  TAG,
  TAG_ADOPTED,
  TAG_ADOPTER,
  TAG_ADOPTING,
  TAG_CLEAN,
  TAG_COPY,
  TAG_EXPORTED,
  TAG_MOVES,
  TAG_NEW,
  TAG_POOL,
  TAG_RETAINED,
  TAG_TAIL,
  TAG_VOLUME,
  tagged,
  tagsOf,
  uidOf,
} from './tags.ts';
import { exportedBytes, isUnclean, tagsOfEmptyTail } from './tail.ts';

/** How old a report may be for what is in it: our own changes are included at once. */
const FRESH_MS = 30_000;

export interface LvmAdoptionOptions {
  group: LvmGroup;
  /** Name of the AoEPool. */
  pool: string;
  hasDevice: (path: string) => Promise<boolean>;
  isClaimed: IsClaimed;
  /** Whether a logical volume is of the pool's kind. */
  accepts: (volume: LogicalVolume) => boolean;
  /** A volume of ours once it is active; undefined when there is no such volume any more. */
  activated: (uid: string, volume: LogicalVolume, signal: AbortSignal) => Promise<LogicalVolume | undefined>;
  backing: (volume: LogicalVolume) => BackingVolume;
}

/**
 * Adopts logical volumes, and gives them back. An adoption is three changes, each of which LVM makes whole or not at all: the tags with the
 * old name, the rename, and the end of TAG_ADOPTING. The UID in TAG_ADOPTER finds what a crash left between them.
 */
export class LvmAdoption implements Adoption {
  readonly #options: LvmAdoptionOptions;

  constructor(options: LvmAdoptionOptions) {
    this.#options = options;
  }

  async adopt(request: AdoptRequest, ownerOf: OwnerOf, signal: AbortSignal): Promise<BackingVolume> {
    const { group, activated, backing } = this.#options;
    const { uid, from } = request;
    // The API server is asked before the turn, so that nobody waits for it with the volume group.
    const free = new Set<string>();
    for (const other of this.#othersOf((await group.read(0, signal)).volumes, request)) {
      const owner = await ownerOf(other);
      if (owner !== undefined) throw this.#refused('AdoptionOfOther', from, `belongs to AoEVolume ${owner}`);
      free.add(other);
    }
    const taken = await group.turn(() => this.#take(request, free, signal), signal);
    const volume = await activated(uid, taken, signal);
    if (!volume) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(taken.name)} vanished while it was adopted`);
    if (!volume.tags.includes(TAG_ADOPTING)) return backing(volume);
    // Once more: its old name is gone, so nobody new finds it.
    if (await this.#isClaimed(volume)) throw this.#inUse(from);
    return backing(await group.mark({ volume, off: [TAG_ADOPTING], on: [] }, signal));
  }

  /**
   * Gives an adopted volume its old name back, and takes our tags off.
   * @returns false when no volume was adopted for this UID
   * @throws BackendError
   */
  async release(uid: string, signal: AbortSignal): Promise<boolean> {
    const { group } = this.#options;
    const find = (volumes: readonly LogicalVolume[]) => volumes.find(({ tags }) => tags.includes(`${TAG_ADOPTER}${uid}`));
    if (!find((await group.read(FRESH_MS, signal)).volumes)) return false;
    await group.turn(async () => {
      const { volumes } = await group.report(signal);
      const found = find(volumes);
      if (!found) return;
      const old = tagged(found, TAG_ADOPTED);
      const isRenamed = found.name === nameOf(uid) && old !== undefined && old !== found.name;
      if (isRenamed && volumes.some(({ name }) => name === old)) {
        const message = `logical volume ${group.pathOf(found.name)} cannot get its old name back, because there is another ${group.pathOf(old)}: rename that one (lvrename)`;
        throw new BackendError('BackendFailed', message);
      }
      const path = group.pathOf(isRenamed ? old : found.name);
      try {
        if (isRenamed) await group.change('lvrename', [group.name, found.name, old]);
        const kept = sizeTags(found).filter((tag) => !tagsOfEmptyTail(found).includes(tag));
        const isOurs = (tag: string): boolean => tag === TAG || tag.startsWith(`${TAG}/`);
        const off = found.tags.filter((tag) => isOurs(tag) && !kept.includes(tag));
        const on = old?.startsWith(PREFIX) ? ['--addtag', TAG_RETAINED] : [];
        await group.change('lvchange', [...off.flatMap((tag) => ['--deltag', tag]), ...on, path]);
      } catch (error) {
        throw failed(`giving logical volume ${path} back`, error);
      }
      await group.report(signal);
    }, signal);
    return true;
  }

  /** The volume with our name and tags. Call it in the group's turn. */
  async #take(request: AdoptRequest, free: ReadonlySet<string>, signal: AbortSignal): Promise<LogicalVolume> {
    const { group, pool } = this.#options;
    const { uid, name, from } = request;
    const report = await group.report(signal);
    const { volumes } = report;
    const done = this.#own(volumes, uid);
    if (done) return done;
    const found = volumes.find((volume) => volume.name === from);
    if (!found) throw this.#nothing(volumes, from);
    if (this.#othersOf(volumes, request).some((other) => !free.has(other)))
      throw new BackendError('BackendFailed', `logical volume ${group.pathOf(from)} was changed while it was adopted: it is tried again`);
    const isBegun = found.tags.includes(`${TAG_ADOPTER}${uid}`);
    if (!isBegun) {
      this.#check(found, request);
      checkMetadata(report);
    }
    if (found.isOpen || (await this.#isClaimed(found))) throw this.#inUse(from);
    try {
      if (!isBegun) {
        const on = [TAG, `${TAG_VOLUME}${name}`, `${TAG_POOL}${pool}`, `${TAG_ADOPTED}${from}`, `${TAG_ADOPTER}${uid}`, TAG_ADOPTING];
        const stale = [TAG_RETAINED, TAG_VOLUME, TAG_POOL, TAG_ADOPTED, TAG_ADOPTER, TAG_MOVES];
        const whole = isOfAdministrator(found) ? tagsOfEmptyTail(found) : [];
        const off = [...whole, ...found.tags.filter((tag) => stale.some((prefix) => tag.startsWith(prefix)) && !on.includes(tag))];
        const args = [...off.flatMap((tag) => ['--deltag', tag]), ...on.flatMap((tag) => ['--addtag', tag])];
        await group.change('lvchange', [...args, group.pathOf(from)]);
      }
      await group.change('lvrename', [group.name, from, nameOf(uid)]);
    } catch (error) {
      throw failed(`adopting logical volume ${group.pathOf(from)}`, error);
    }
    const made = this.#own((await group.report(signal)).volumes, uid);
    if (!made) throw new BackendError('BackendFailed', `logical volume ${group.pathOf(from)} vanished while it was adopted`);
    return made;
  }

  #own(volumes: readonly LogicalVolume[], uid: string): LogicalVolume | undefined {
    return volumes.find(({ name, tags }) => name === nameOf(uid) && tags.includes(`${TAG_ADOPTER}${uid}`));
  }

  /** UIDs of other AoEVolumes whose data this may be, by its name and tags. */
  #othersOf(volumes: readonly LogicalVolume[], { uid, from }: AdoptRequest): string[] {
    if (this.#own(volumes, uid)) return [];
    const found = volumes.find(({ name }) => name === from);
    if (!found) return [];
    const others = [found.name.startsWith(PREFIX) ? uidOf(found) : undefined, tagged(found, TAG_ADOPTER)];
    return others.filter((other) => other !== undefined && other !== uid) as string[];
  }

  /** @throws BackendError when this is nothing to adopt */
  #check(volume: LogicalVolume, { bytes, from }: AdoptRequest): void {
    const what = this.#unfit(volume);
    if (what !== undefined) throw this.#refused('NotAdoptable', from, what);
    // What its administrator has done with what is behind cannot be seen.
    if (isUnclean(volume) && (isOfAdministrator(volume) || tagged(volume, TAG_CLEAN) === undefined))
      throw this.#refused('NotAdoptable', from, this.#unclean(volume));
    const has = isOfAdministrator(volume) ? volume.bytes : exportedBytes(volume);
    if (has === bytes) return;
    const message = `has ${formatQuantity(has)} (${has} bytes), and spec.capacity is ${formatQuantity(bytes)}: delete the AoEVolume, and create it with the capacity ${formatQuantity(has)}`;
    throw this.#refused('AdoptionSize', from, message);
  }

  /** What a volume is that may hold data of another one, or of its administrator, behind what was exported of it. */
  #unclean(volume: LogicalVolume): string {
    const path = this.#options.group.pathOf(volume.name);
    const untag = `lvchange ${sizeTags(volume)
      .map((tag) => `--deltag ${tag}`)
      .join(' ')} ${path}`;
    const was = exportedBytes(volume);
    if (was === 0) return `has tags of its size that cannot be read. If all of its data is right, take them off (${untag})`;
    return `was a disk of ${was} bytes, and has ${volume.bytes} now: a growth was cut short, or somebody made it larger, and what is behind may be another volume's old data. To have only the first part, cut off what is behind (lvreduce --size ${was}b ${path}); leave it there if it is yours. Then take the tags of the old size off (${untag})`;
  }

  #unfit(volume: LogicalVolume): string | undefined {
    const { name, tags, layout, roles = [], health } = volume;
    const isOurs = tags.includes(TAG);
    if (layout.includes('pool')) return 'is a pool of LVM, and no volume';
    if (name.startsWith(PREFIX) && kindOf(uidOf(volume)) === 'snapshot') return 'is the data of an AoESnapshot';
    // A volume of ours that was made of a snapshot is one to LVM, too.
    if (roles.includes('snapshot') && !(isOurs && name.startsWith(PREFIX))) return 'is a snapshot';
    if (roles.includes('thickorigin')) return 'has snapshots that are no thin ones: remove them first (lvremove)';
    if (roles.includes('private')) return 'is a part of another logical volume';
    if (!this.#options.accepts(volume))
      return `is ${layout.join(', ')}${volume.pool ? ` in pool ${volume.pool}` : ''}, and AoEPool ${this.#options.pool} has no volumes of that kind`;
    if (tags.includes(TAG_NEW)) return 'is a volume that was never finished, and has no data';
    if (tags.some((tag) => tag.startsWith(TAG_COPY))) return 'is a copy that was never finished';
    return health === '' ? undefined : `is ${health}: repair it first`;
  }

  #nothing(volumes: readonly LogicalVolume[], from: string): BackendError {
    const { group } = this.#options;
    const taken = volumes.find((volume) => volume.name.startsWith(PREFIX) && tagged(volume, TAG_ADOPTED) === from);
    const hint = taken
      ? `: it was adopted before, by AoEVolume ${tagged(taken, TAG_VOLUME)}, and is called ${group.pathOf(taken.name)} now`
      : '. Names are as in `lvs`';
    return new BackendError('NothingToAdopt', `there is no logical volume ${group.pathOf(from)} on this node${hint}`);
  }

  async #isClaimed({ name, active }: LogicalVolume): Promise<boolean> {
    const { group, hasDevice, isClaimed } = this.#options;
    const path = `/dev/${group.pathOf(name)}`;
    if (!active || !(await hasDevice(path))) return false;
    try {
      return await isClaimed(path);
    } catch (error) {
      throw failed(`looking whether ${path} is in use`, error);
    }
  }

  #inUse(from: string): BackendError {
    return this.#refused(
      'AdoptionInUse',
      from,
      'is in use on this node: unmount it, and stop what has it open (fuser, lsblk and dmsetup ls --tree show that)',
    );
  }

  #refused(reason: 'AdoptionInUse' | 'AdoptionOfOther' | 'NotAdoptable' | 'AdoptionSize', from: string, what: string): BackendError {
    return new BackendError(reason, `logical volume ${this.#options.group.pathOf(from)} ${what}. It was not adopted`);
  }
}

/** The tags that say how much of a volume may be exported. */
function sizeTags(volume: LogicalVolume): string[] {
  return [TAG_CLEAN, TAG_EXPORTED, TAG_TAIL].flatMap((prefix) => tagsOf(volume, prefix));
}

/** Whether a volume was made by an administrator, or was given back: all of it is theirs. */
function isOfAdministrator({ tags }: LogicalVolume): boolean {
  return !tags.includes(TAG);
}
