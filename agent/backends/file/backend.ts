import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import {
  type Backend,
  BackendError,
  type BackingVolume,
  type CreateRequest,
  checkUid,
  type Growth,
  kindOf,
  type Measurement,
  roundUp,
  type Snapshots,
  TAIL_BYTES,
} from '../backend.ts';
import { loopOf } from '../device-use.ts';
import { FileAdoption } from './adoption.ts';
import { DirectoryState } from './directory-state.ts';
import { type FileSystem, failed, hasCode, nodeFileSystem } from './file-system.ts';
import { prepareDirectory } from './prepare.ts';
import { FileSnapshots } from './snapshots.ts';
import { type FilePool, type SpaceFound, SUFFIX, spaceOf } from './space.ts';
import { FileTails } from './tail.ts';
import { type FileSize, UnsharedBytes } from './unshared-bytes.ts';

/** A file that is being made: it is never exported, and removed when its volume is made again. */
const NEW_SUFFIX = '.img.new';
const RETAINED_SUFFIX = '.img.retained';
/** Beside each volume: the name of its AoEVolume. Files that earlier versions made have none. */
const RECORD_SUFFIX = '.img.volume';
/** Beside a volume that was moved: how often its AoEVolume had been moved when it was served here. */
const MOVES_SUFFIX = '.img.moves';
/** Beside a volume into which data is copied, until it is whole: what CreateRequest.copy said. */
const COPY_SUFFIX = '.img.copy';

export interface FileOptions {
  /** Name of the AoEPool. */
  pool: string;
  directory: string;
  /** UIDs of the volumes that were made there. When there are any, a directory without the marker, or without all of them, is the wrong one. */
  expected: () => Iterable<string>;
  /** Whether there are snapshots that were taken there. */
  hasSnapshots?: () => boolean;
  /** Directories where disks are mounted: in one where nothing is mounted, no new pool is begun unless its directory is there. */
  mountPoints?: readonly string[];
  /** spec.reserve of the AoEPool. */
  reserve?: string | undefined;
  /** The other file pools of this node. */
  siblings?: () => readonly FilePool[];
  fs?: FileSystem;
  /** Shared with every other backend of this directory. */
  state?: DirectoryState;
}

/** Sparse files in a directory, named by UID. Each appears under its name only once it has its full size. */
export class FileBackend implements Backend {
  readonly #pool: string;
  readonly #directory: string;
  readonly #expected: () => Iterable<string>;
  readonly #hasSnapshots: () => boolean;
  readonly #mountPoint: string | undefined;
  readonly #reserve: string | undefined;
  readonly #siblings: () => readonly FilePool[];
  readonly #fs: FileSystem;
  readonly #tails: FileTails;
  readonly #state: DirectoryState;
  /** Names of AoEVolumes by UID, as read from the records: they never change. */
  readonly #names = new Map<string, string>();
  readonly snapshots: Snapshots & Required<Pick<Snapshots, 'restore'>>;
  readonly reclaims = true;
  readonly adoption: FileAdoption;
  /** Not while a snapshot is taken: it has the size that the volume has meanwhile. */
  readonly growth: Growth = {
    grow: (uid, bytes, signal) => this.#state.serial.turn(() => this.#grow(uid, bytes), signal),
  };

  constructor({
    pool,
    directory,
    expected,
    hasSnapshots = () => false,
    mountPoints = [],
    reserve,
    siblings = () => [],
    fs = nodeFileSystem,
    state = new DirectoryState(new UnsharedBytes(fs)),
  }: FileOptions) {
    this.#pool = pool;
    this.#directory = directory;
    this.#expected = expected;
    this.#hasSnapshots = hasSnapshots;
    this.#mountPoint = mountPoints.filter((path) => `${directory}/`.startsWith(`${path}/`)).toSorted((a, b) => b.length - a.length)[0];
    this.#reserve = reserve;
    this.#siblings = siblings;
    this.#fs = fs;
    this.#state = state;
    this.#tails = new FileTails(directory, fs);
    this.snapshots = new FileSnapshots({
      ...{ directory, fs, tails: this.#tails, serial: state.serial, unshared: state.unshared },
      prepare: () => this.#prepare(),
      pathOf: (uid) => this.path(uid),
      space: async (signal) => (await this.#space(signal)).found,
    });
    this.adoption = new FileAdoption({
      ...{ directory, fs, loopOf, tails: this.#tails },
      prepare: async () => {
        await this.#prepare();
        await this.#recognize();
      },
      find: (uid) => this.#find(uid),
      pathOf: (uid) => this.path(uid),
      isCopy: async (uid) => (await this.#copyOf(uid)).copy !== undefined,
      isRecorded: async (uid) => (await this.#read(this.#record(uid))) !== undefined,
      record: (uid, name) => this.#fs.write(this.#record(uid), `${name}\n`),
    });
  }

  path(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${SUFFIX}`);
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      const { volumes, found } = await this.#space(signal);
      return { ready: true, ...found.space, granularity: MiB, tail: TAIL_BYTES, volumes };
    } catch (error) {
      if (error instanceof BackendError)
        return { ready: false, message: error.message, size: 0, free: 0, granularity: MiB, tail: 0, volumes: [] };
      throw error;
    }
  }

  async #space(signal: AbortSignal): Promise<{ volumes: BackingVolume[]; found: SpaceFound }> {
    const { volumes, files } = await this.#list(signal);
    const options = { fs: this.#fs, unshared: this.#state.unshared, directory: this.#directory, reserve: this.#reserve };
    return { volumes, found: await spaceOf({ ...options, siblings: this.#siblings() }, files, signal) };
  }

  async find(uid: string): Promise<BackingVolume | undefined> {
    await this.#prepare();
    await this.#recognize();
    return await this.#find(checkUid(uid));
  }

  readonly open = (uid: string): Promise<BackingVolume | undefined> => this.find(uid);

  async namesakes({ uid, name }: Pick<CreateRequest, 'uid' | 'name'>, signal: AbortSignal): Promise<BackingVolume[]> {
    await this.#prepare();
    await this.#recognize();
    if (await this.#find(checkUid(uid))) return [];
    const found: BackingVolume[] = [];
    for (const other of await this.#uids()) {
      signal.throwIfAborted();
      if ((await this.#nameOf(other)) !== name) continue;
      const volume = await this.#find(other);
      if (volume) found.push({ ...volume, volume: name });
    }
    return found;
  }

  async create({ uid, name, bytes, copy, tail: wantsTail }: CreateRequest): Promise<BackingVolume> {
    await this.#prepare();
    await this.#recognize();
    const existing = await this.#find(checkUid(uid));
    if (existing) return existing;
    const half = join(this.#directory, `${uid}${NEW_SUFFIX}`);
    try {
      await this.#fs.unlink(half);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw failed(`removing ${half}`, error);
    }
    const [exported, tail] = [roundUp(bytes, MiB), wantsTail ? TAIL_BYTES : 0];
    const size = exported + tail;
    try {
      await this.#fs.createSparse(half, size);
      await this.#tails.note(uid, exported, tail);
      await this.#fs.write(this.#record(uid), `${name}\n`);
      if (copy !== undefined) await this.#fs.write(this.#copy(uid), `${copy}\n`);
      // The mark comes first: without it the volume would count as whole.
      if (copy !== undefined) await this.#fs.syncDirectory(this.#directory);
      await this.#fs.rename(half, this.path(uid));
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      throw this.#full(error, size) ?? failed(`creating ${this.path(uid)}`, error);
    }
    return { uid, name: this.path(uid), ...(await this.#tails.of(uid, size)), ...(copy === undefined ? {} : { copy }) };
  }

  async #grow(uid: string, bytes: number): Promise<BackingVolume> {
    await this.#prepare();
    await this.#recognize();
    const found = await this.#find(checkUid(uid));
    if (!found) throw new BackendError('BackendFailed', `${this.path(uid)} vanished before it was made larger`);
    const { tail = 0, name } = found;
    const exported = roundUp(bytes, MiB);
    if (found.bytes >= exported) return found;
    if (found.bytes === 0) throw new BackendError('BackendFailed', `what may be exported of ${name} cannot be read, so it does not grow`);
    const size = exported + tail;
    try {
      // The old tail becomes data: without its blocks it reads as zeros.
      if (tail > 0) await this.#fs.shorten(name, found.bytes);
      await this.#fs.extend(name, size);
      if (tail > 0) await this.#tails.note(uid, exported, tail);
    } catch (error) {
      throw this.#full(error, size) ?? failed(`making ${found.name} larger`, error);
    }
    const { extended: _, ...grown } = found;
    return { ...grown, bytes: exported };
  }

  /** The error when the file system has no room, or no files of that size. */
  #full(error: unknown, size: number): BackendError | undefined {
    if (hasCode(error, 'ENOSPC')) return new BackendError('PoolFull', `no space left in ${this.#directory}`, { cause: error });
    if (!hasCode(error, 'EFBIG')) return undefined;
    return new BackendError('PoolFull', `the file system of ${this.#directory} cannot hold a file of ${size} bytes`, { cause: error });
  }

  exportTail(uid: string, signal: AbortSignal): Promise<BackingVolume> {
    return this.#state.serial.turn(() => this.#exportTail(uid), signal);
  }

  async #exportTail(uid: string): Promise<BackingVolume> {
    await this.#tails.forget(uid);
    const found = await this.#find(uid);
    if (!found) throw new BackendError('BackendFailed', `${this.path(uid)} vanished`);
    return found;
  }

  async noteMoves(uid: string, moves: number): Promise<void> {
    const path = this.#moves(uid);
    try {
      await this.#fs.write(`${path}.new`, `${moves}\n`);
      await this.#fs.rename(`${path}.new`, path);
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      throw this.#full(error, 0) ?? failed(`writing ${path}`, error);
    }
  }

  async finishCopy(uid: string): Promise<void> {
    await this.#drop(this.#copy(uid));
    await this.#fs.syncDirectory(this.#directory);
  }

  async remove(uid: string, signal?: AbortSignal): Promise<void> {
    await this.#prepare();
    // The decision may be too old when the disk answers. Once begun it goes on: a volume that is half removed would be missed.
    signal?.throwIfAborted();
    await this.#drop(this.path(uid));
    await this.#fs.syncDirectory(this.#directory);
    const half = join(this.#directory, `${uid}${NEW_SUFFIX}`);
    for (const path of [this.#copy(uid), half, this.#record(uid), this.#moves(uid)]) await this.#drop(path);
    await this.adoption.forget(uid);
    await this.#tails.forget(uid);
    this.#names.delete(uid);
    await this.#fs.syncDirectory(this.#directory);
    this.#state.noteGone(uid, this.path(uid), this.#expected);
  }

  async retain(uid: string, signal?: AbortSignal): Promise<void> {
    await this.#prepare();
    signal?.throwIfAborted();
    await this.#tails.cut(uid, this.path(uid));
    // Its file has its old name then, and is not among what is removed.
    if (await this.adoption.release(uid)) return await this.remove(uid);
    await this.#drop(this.path(uid), (path) => this.#fs.rename(path, join(this.#directory, `${uid}${RETAINED_SUFFIX}`)));
    await this.#tails.forget(uid);
    this.#state.noteGone(uid, this.path(uid), this.#expected);
  }

  async #list(signal: AbortSignal): Promise<{ volumes: BackingVolume[]; files: FileSize[] }> {
    await this.#prepare();
    await this.#recognize();
    const volumes: BackingVolume[] = [];
    const files: FileSize[] = [];
    for (const uid of await this.#uids()) {
      signal.throwIfAborted();
      const file = await this.#stat(uid);
      if (!file) continue;
      const volume = await this.#nameOf(uid);
      const marks = { ...(await this.#movesOf(uid)), ...(await this.#copyOf(uid)) };
      volumes.push({
        uid,
        ...(volume === undefined ? {} : { volume }),
        ...marks,
        name: this.path(uid),
        ...(await this.#tails.of(uid, file.size)),
      });
      files.push(file);
    }
    return { volumes, files };
  }

  /** UIDs in the names of the files. */
  async #uids(): Promise<string[]> {
    const names = (await this.#fs.readdir(this.#directory)).filter((name) => name.endsWith(SUFFIX));
    return names.map((name) => name.slice(0, -SUFFIX.length)).filter((id) => kindOf(id) === 'volume');
  }

  #record(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${RECORD_SUFFIX}`);
  }

  #moves(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${MOVES_SUFFIX}`);
  }

  #copy(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${COPY_SUFFIX}`);
  }

  /** The mark of a volume into which data is copied. */
  async #copyOf(uid: string): Promise<Pick<BackingVolume, 'copy'>> {
    const copy = await this.#read(this.#copy(uid));
    return copy === undefined ? {} : { copy };
  }

  /** What {@link noteMoves} wrote. */
  async #movesOf(uid: string): Promise<Pick<BackingVolume, 'moves'>> {
    const moves = Number((await this.#read(this.#moves(uid))) ?? 0);
    return Number.isSafeInteger(moves) && moves > 0 ? { moves } : {};
  }

  /** The name of the AoEVolume that a file was made for; undefined when it is not known. */
  async #nameOf(uid: string): Promise<string | undefined> {
    const name = this.#names.get(uid) ?? (await this.#read(this.#record(uid)));
    if (name) this.#names.set(uid, name);
    return name || undefined;
  }

  /** The content of a small file beside a volume; undefined when there is none. */
  async #read(path: string): Promise<string | undefined> {
    try {
      return (await this.#fs.read(path)).trim();
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw failed(`reading ${path}`, error);
    }
  }

  async #find(uid: string): Promise<BackingVolume | undefined> {
    const file = await this.#stat(uid);
    if (!file) return undefined;
    const adopted = await this.adoption.oldPath(uid);
    const marks = { ...(await this.#movesOf(uid)), ...(await this.#copyOf(uid)), ...(adopted === undefined ? {} : { adopted }) };
    return { uid, ...marks, name: this.path(uid), ...(await this.#tails.of(uid, file.size)) };
  }

  /** The file of a volume; undefined when there is none. */
  async #stat(uid: string): Promise<FileSize | undefined> {
    const path = this.path(uid);
    try {
      const stats = await this.#fs.stat(path);
      return stats.file ? { path, size: stats.size, blocks: stats.blocks } : undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw failed(`looking at ${path}`, error);
    }
  }

  /** Checks that the directory belongs to this pool; makes it when the pool is new on this node. */
  async #prepare(): Promise<void> {
    const isUsed = (): boolean => !isEmpty(this.#expected()) || this.#hasSnapshots();
    await prepareDirectory(this.#fs, { pool: this.#pool, directory: this.#directory, mountPoint: this.#mountPoint, isUsed });
  }

  /**
   * Checks that at least one of the expected volumes is there. The marker alone is not enough: it may be on both sides of a mount
   * point, on the disk and in the directory that shows while the disk is not mounted. A removal does not check this: it may
   * be about the last volume, or about one that was lost.
   */
  async #recognize(): Promise<void> {
    let missing = 0;
    for (const uid of this.#expected()) {
      if (this.#state.isGone(uid)) continue;
      if (await this.#find(uid)) return;
      missing++;
    }
    if (missing === 0) return;
    throw new BackendError(
      'PoolMissing',
      `${this.#directory} has none of the ${missing} volumes that were made there: is its file system mounted? If they are lost for good, delete their AoEVolumes`,
    );
  }

  async #drop(path: string, how = (each: string) => this.#fs.unlink(each)): Promise<void> {
    try {
      await how(path);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw failed(`removing ${path}`, error);
    }
  }
}

function isEmpty(items: Iterable<unknown>): boolean {
  for (const _ of items) return false;
  return true;
}
