import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { messageOf } from '../../../kube/mod.ts';
import {
  type Backend,
  BackendError,
  type BackingVolume,
  type CreateRequest,
  checkUid,
  type Measurement,
  roundDown,
  roundUp,
} from '../backend.ts';
import { type FileSystem, hasCode, nodeFileSystem } from './file-system.ts';

const SUFFIX = '.img';
/** A file that is being made; never served, and thrown away when its volume is made again. */
const NEW_SUFFIX = '.img.new';
const RETAINED_SUFFIX = '.img.retained';
/** Says that the directory is this pool's, so that an unmounted mount point is not taken for it. */
const MARKER = '.aoe-pool';
const BLOCK = 512;

export interface FileOptions {
  /** Name of the AoEPool. */
  pool: string;
  directory: string;
  /** UIDs of the volumes that were made there before: then a directory without our marker, or without any of them, is not it. */
  expected: () => readonly string[];
  fs?: FileSystem;
}

/** Sparse files in a directory, named by UID. Each appears under its name only when it has its whole size. */
export class FileBackend implements Backend {
  readonly #pool: string;
  readonly #directory: string;
  readonly #expected: () => readonly string[];
  readonly #fs: FileSystem;
  /** Removed or given away here while their AoEVolumes were still there: not missed. */
  #gone: string[] = [];

  constructor({ pool, directory, expected, fs = nodeFileSystem }: FileOptions) {
    this.#pool = pool;
    this.#directory = directory;
    this.#expected = expected;
    this.#fs = fs;
  }

  path(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${SUFFIX}`);
  }

  async list(signal: AbortSignal): Promise<BackingVolume[]> {
    await this.#prepare();
    await this.#recognize();
    const found: BackingVolume[] = [];
    for (const name of await this.#fs.readdir(this.#directory)) {
      signal.throwIfAborted();
      if (!name.endsWith(SUFFIX)) continue;
      const volume = await this.#look(name.slice(0, -SUFFIX.length));
      if (volume) found.push(volume);
    }
    return found;
  }

  async measure(signal: AbortSignal): Promise<Measurement> {
    try {
      let taken = 0;
      let promised = 0;
      const volumes = await this.list(signal);
      for (const { uid, bytes } of volumes) {
        const stats = await this.#fs.stat(this.path(uid)).catch(() => undefined);
        taken += (stats?.blocks ?? 0) * BLOCK;
        promised += bytes;
      }
      const { bavail, bsize } = await this.#fs.statfs(this.#directory);
      // Not the file system's size: what others keep there is not ours to promise.
      const size = roundDown(bavail * bsize + taken, MiB);
      return { ready: true, size, free: Math.max(0, size - promised), granularity: MiB, volumes };
    } catch (error) {
      if (error instanceof BackendError) return { ready: false, message: error.message, size: 0, free: 0, granularity: MiB, volumes: [] };
      throw error;
    }
  }

  async open(uid: string): Promise<BackingVolume | undefined> {
    await this.#prepare();
    await this.#recognize();
    return this.#look(checkUid(uid));
  }

  async create({ uid, bytes }: CreateRequest): Promise<BackingVolume> {
    await this.#prepare();
    await this.#recognize();
    const existing = await this.#look(checkUid(uid));
    if (existing) return existing;
    const half = join(this.#directory, `${uid}${NEW_SUFFIX}`);
    try {
      await this.#fs.unlink(half);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw this.#failed(`removing ${half}`, error);
    }
    const size = roundUp(bytes, MiB);
    try {
      await this.#fs.createSparse(half, size);
      await this.#fs.rename(half, this.path(uid));
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      if (hasCode(error, 'ENOSPC')) throw new BackendError('PoolFull', `no space left in ${this.#directory}`, { cause: error });
      if (hasCode(error, 'EFBIG')) {
        throw new BackendError('PoolFull', `the file system of ${this.#directory} takes no file of ${size} bytes`, { cause: error });
      }
      throw this.#failed(`creating ${this.path(uid)}`, error);
    }
    return { uid, name: this.path(uid), bytes: size };
  }

  async remove(uid: string): Promise<void> {
    await this.#prepare();
    await this.#drop(this.path(uid), (path) => this.#fs.unlink(path));
    await this.#drop(join(this.#directory, `${uid}${NEW_SUFFIX}`), (path) => this.#fs.unlink(path));
    await this.#fs.syncDirectory(this.#directory);
    this.#gone.push(uid);
  }

  async retain(uid: string): Promise<void> {
    await this.#prepare();
    await this.#drop(this.path(uid), (path) => this.#fs.rename(path, join(this.#directory, `${uid}${RETAINED_SUFFIX}`)));
    await this.#fs.syncDirectory(this.#directory);
    this.#gone.push(uid);
  }

  async #look(uid: string): Promise<BackingVolume | undefined> {
    const path = this.path(uid);
    try {
      const stats = await this.#fs.stat(path);
      return stats.file ? { uid, name: path, bytes: stats.size } : undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw this.#failed(`looking at ${path}`, error);
    }
  }

  /** Makes sure that the directory is ours; makes it when the pool is new on this node. */
  async #prepare(): Promise<void> {
    const marker = join(this.#directory, MARKER);
    try {
      const owner = (await this.#fs.read(marker)).trim();
      if (owner === this.#pool) return;
      // An empty marker is one whose writing was cut short by a crash.
      if (owner)
        throw new BackendError('PoolMissing', `${this.#directory} belongs to pool ${owner}: give each pool a directory of its own`);
    } catch (error) {
      if (error instanceof BackendError) throw error;
      if (!hasCode(error, 'ENOENT')) throw this.#failed(`reading ${marker}`, error);
    }
    if (this.#expected().length > 0) {
      throw new BackendError('PoolMissing', `${this.#directory} lacks the volumes that were made there: is its file system mounted?`);
    }
    try {
      await this.#fs.mkdir(this.#directory);
      await this.#fs.write(marker, `${this.#pool}\n`);
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      const message = `${this.#directory} cannot be made: ${messageOf(error)}`;
      throw new BackendError('PoolMissing', message, { cause: error });
    }
  }

  /**
   * Makes sure that some volume of those that were made there is there. The marker alone may be on both sides of a mount point:
   * on the disk, and in the directory that shows when the disk is not mounted. Not asked when a volume is removed, which may be
   * the last one, or one that was lost.
   */
  async #recognize(): Promise<void> {
    const known = this.#expected();
    this.#gone = this.#gone.filter((uid) => known.includes(uid));
    const expected = known.filter((uid) => !this.#gone.includes(uid));
    for (const uid of expected) if (await this.#look(uid)) return;
    if (expected.length === 0) return;
    throw new BackendError(
      'PoolMissing',
      `${this.#directory} has none of the ${expected.length} volumes that were made there: is its file system mounted? If they are lost for good, delete their AoEVolumes`,
    );
  }

  async #drop(path: string, how: (path: string) => Promise<void>): Promise<void> {
    try {
      await how(path);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw this.#failed(`removing ${path}`, error);
    }
  }

  #failed(doing: string, error: unknown): BackendError {
    return new BackendError('BackendFailed', `${doing}: ${messageOf(error)}`, { cause: error });
  }
}
