import { basename, join } from 'node:path';
import { formatQuantity } from '../../../api/quantity.ts';
import { type Adoption, type AdoptRequest, BackendError, type BackingVolume, checkUid, kindOf, type OwnerOf } from '../backend.ts';
import { type FileSystem, failed, hasCode } from './file-system.ts';
import { SUFFIX } from './space.ts';
import type { FileTails } from './tail.ts';

/** Beside an adopted volume: the name that its file had before, and gets back. */
const ADOPTED_SUFFIX = '.img.adopted';
/** A file of this name is a volume, or one that was retained; what else follows `.img` is beside a volume. */
const VOLUME_NAME = /^(?<uid>.+)\.img(?<retained>\.retained)?$/;
const RETAINED = '.retained';
const BESIDE_VOLUME = /\.img\..+$/;
/** No path, and nothing hidden: as in the schema of spec.adopt. */
const PLAIN_NAME = /^[a-zA-Z0-9_+][a-zA-Z0-9_+.-]*$/;
/** A disk has whole sectors. */
const SECTOR = 512;

export interface FileAdoptionOptions {
  directory: string;
  fs: FileSystem;
  /** Checks that the directory is that of the pool, with its volumes. @throws BackendError */
  prepare: () => Promise<void>;
  find: (uid: string) => Promise<BackingVolume | undefined>;
  pathOf: (uid: string) => string;
  tails: FileTails;
  /** Whether data is being copied into the volume with this UID. */
  isCopy: (uid: string) => Promise<boolean>;
  /** Whether there is the name of an AoEVolume beside the file with this UID. */
  isRecorded: (uid: string) => Promise<boolean>;
  /** Writes the name of the AoEVolume beside its file. */
  record: (uid: string, name: string) => Promise<void>;
  /** The loop device that a file is the disk of; undefined when there is none. */
  loopOf: (path: string) => Promise<string | undefined>;
}

/** Adopts files in the directory of a pool, and gives them back. The old name is on stable storage before a file gets its new one. */
export class FileAdoption implements Adoption {
  readonly #options: FileAdoptionOptions;

  constructor(options: FileAdoptionOptions) {
    this.#options = options;
  }

  async adopt(request: AdoptRequest, ownerOf: OwnerOf, signal: AbortSignal): Promise<BackingVolume> {
    const { directory, fs, prepare, find, pathOf, record, tails } = this.#options;
    const { uid, name, from } = request;
    await prepare();
    const done = await find(checkUid(uid));
    if (done) return done;
    const { bytes, tail = 0 } = await this.#check(request, ownerOf);
    signal.throwIfAborted();
    const path = join(directory, from);
    try {
      const note = this.#note(uid);
      await fs.write(`${note}.new`, `${from}\n`);
      await fs.rename(`${note}.new`, note);
      await record(uid, name);
      await tails.note(uid, bytes, tail);
      await fs.syncFile(path);
      await fs.syncDirectory(directory);
      await fs.rename(path, pathOf(uid));
      await fs.syncDirectory(directory);
    } catch (error) {
      throw failed(`adopting ${path}`, error);
    }
    const adopted = await find(uid);
    if (!adopted) throw new BackendError('BackendFailed', `${path} vanished while it was adopted`);
    return adopted;
  }

  /** What the file of an adopted volume was called before: its whole path; undefined when it was not adopted. @throws BackendError */
  async oldPath(uid: string): Promise<string | undefined> {
    const note = this.#note(uid);
    try {
      const old = (await this.#options.fs.read(note)).trim();
      return PLAIN_NAME.test(old) ? join(this.#options.directory, old) : undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw failed(`reading ${note}`, error);
    }
  }

  /**
   * Gives the file of an adopted volume its old name back; that of one that is only half adopted has it still. One that was made for another
   * AoEVolume would be an orphan again by that name: it is marked as retained.
   * @returns false when no file was adopted for this UID
   * @throws BackendError
   */
  async release(uid: string): Promise<boolean> {
    const { directory, fs, pathOf } = this.#options;
    const adopted = await this.oldPath(uid);
    if (adopted === undefined) return false;
    const path = pathOf(uid);
    const old = (await this.#wasMadeHere(adopted)) ? `${adopted}${RETAINED}` : adopted;
    try {
      const [ours, other] = [await this.#inspect(path), await this.#inspect(old)];
      const isLinked = ours !== undefined && other?.inode === ours.inode && other.device === ours.device;
      if (ours && other && !isLinked) {
        const message = `${path} cannot get its old name back, because there is another ${old}: rename that one`;
        throw new BackendError('BackendFailed', message);
      }
      if (ours) {
        // Not a rename, which would replace a file that was made meanwhile.
        if (!isLinked) await fs.link(path, old);
        await fs.syncDirectory(directory);
        await fs.unlink(path);
        await fs.syncDirectory(directory);
      }
    } catch (error) {
      throw failed(`giving ${old} back`, error);
    }
    return true;
  }

  /** Whether a file was made for an AoEVolume, and is not retained. */
  async #wasMadeHere(path: string): Promise<boolean> {
    const { uid, retained } = VOLUME_NAME.exec(basename(path))?.groups ?? {};
    return uid !== undefined && retained === undefined && (await this.#options.isRecorded(uid));
  }

  /** Forgets that a volume was adopted. Call it once its file is gone from the volume's name. */
  async forget(uid: string): Promise<void> {
    for (const path of [this.#note(uid), `${this.#note(uid)}.new`]) {
      try {
        await this.#options.fs.unlink(path);
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw failed(`removing ${path}`, error);
      }
    }
  }

  /** What it may export. @throws BackendError when this is nothing to adopt */
  async #check({ from, bytes }: AdoptRequest, ownerOf: OwnerOf): Promise<Pick<BackingVolume, 'bytes' | 'tail'>> {
    const { directory, isCopy, loopOf, tails } = this.#options;
    const path = join(directory, from);
    const refused = (reason: BackendError['reason'], what: string): BackendError =>
      new BackendError(reason, `file ${path} ${what}. It was not adopted`);
    const isBeside = BESIDE_VOLUME.test(from) && !from.endsWith('.img.retained');
    if (!PLAIN_NAME.test(from) || isBeside) throw refused('NotAdoptable', 'has a name that no volume can have');
    const found = await this.#inspect(path);
    if (!found) throw new BackendError('NothingToAdopt', `there is no file ${path} on this node${await this.#hint(from)}`);
    if (!found.file) throw refused('NotAdoptable', 'is no regular file. A link is not followed: move the file itself here');
    if (found.links > 1)
      throw refused('NotAdoptable', `has ${found.links} names (hard links), so others may write to it: remove the others`);
    const { uid, retained } = VOLUME_NAME.exec(from)?.groups ?? {};
    if (uid !== undefined) {
      if (kindOf(uid) === 'snapshot') throw refused('NotAdoptable', 'is the data of an AoESnapshot');
      const owner = await ownerOf(uid);
      if (owner !== undefined) throw refused('AdoptionOfOther', `belongs to AoEVolume ${owner}`);
      if (await isCopy(uid)) throw refused('NotAdoptable', 'is a copy that was never finished');
    }
    if (found.size === 0 || found.size % SECTOR !== 0)
      throw refused(
        'NotAdoptable',
        `has ${found.size} bytes, which is no multiple of ${SECTOR}: make it larger (truncate --size=%${SECTOR} ${path})`,
      );
    // One that was made for another AoEVolume may have a tail.
    const size: Pick<BackingVolume, 'bytes' | 'extended' | 'tail'> =
      uid !== undefined && retained === undefined ? await tails.of(uid, found.size) : { bytes: found.size };
    if (size.extended !== undefined) throw refused('NotAdoptable', larger(path, size.bytes, found.size));
    if (size.bytes !== bytes) {
      const [has, wanted] = [formatQuantity(size.bytes), formatQuantity(bytes)];
      const advice = `delete the AoEVolume, and create it with the capacity ${has}`;
      throw refused('AdoptionSize', `has ${has} (${size.bytes} bytes), and spec.capacity is ${wanted}: ${advice}`);
    }
    const loop = await loopOf(path);
    if (loop !== undefined)
      throw refused('AdoptionInUse', `is the disk of ${loop} on this node: unmount it, and run losetup --detach ${loop}`);
    return size;
  }

  /** Who has adopted a file of this name before. */
  async #hint(from: string): Promise<string> {
    const { directory, fs, pathOf } = this.#options;
    for (const note of (await fs.readdir(directory)).filter((name) => name.endsWith(ADOPTED_SUFFIX))) {
      const uid = note.slice(0, -ADOPTED_SUFFIX.length);
      const isOurs = (await this.oldPath(uid)) === join(directory, from) && (await this.#inspect(pathOf(uid)));
      if (isOurs) return `: it was adopted before, and is called ${uid}${SUFFIX} now`;
    }
    return '';
  }

  #note(uid: string): string {
    return join(this.#options.directory, `${checkUid(uid)}${ADOPTED_SUFFIX}`);
  }

  async #inspect(path: string): ReturnType<FileSystem['inspect']> {
    try {
      return await this.#options.fs.inspect(path);
    } catch (error) {
      throw failed(`looking at ${path}`, error);
    }
  }
}

/** What an orphan is that is larger than was exported of it: what a person has done with the rest cannot be seen, and a growth would cut it off. */
function larger(path: string, exported: number, bytes: number): string {
  const note = `${path}.exported`;
  if (exported === 0) return `has a note of its size, ${note}, that cannot be read: if all of the file is right, remove the note`;
  return `was a disk of ${exported} bytes, and has ${bytes} now: a growth was cut short, or somebody made it larger. To have only the first part, run truncate --size=${exported} ${path}; leave what is behind if it is yours. Then remove ${note}`;
}
