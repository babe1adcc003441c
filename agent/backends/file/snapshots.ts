import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { messageOf } from '../../../kube/mod.ts';
import {
  BackendError,
  type BackingSnapshot,
  type CreateRequest,
  type Instant,
  kindOf,
  type PreparedSnapshot,
  roundUp,
  type Serial,
  type SnapshotRequest,
  type Snapshots,
  snapshotId,
  TAIL_BYTES,
} from '../backend.ts';
import { takeSnapshot } from '../take-snapshot.ts';
import { mayShareBlocks } from './extents.ts';
import { FileBlocks } from './file-blocks.ts';
import { type FileSystem, failed, hasCode } from './file-system.ts';
import type { SpaceFound } from './space.ts';
import type { FileTails } from './tail.ts';
import type { Own, UnsharedBytes } from './unshared-bytes.ts';

const SUFFIX = '.img';
/** A snapshot that is being taken: it counts only under its own name. */
const NEW_SUFFIX = '.img.new';
const RETAINED_SUFFIX = '.img.retained';
/** Beside each snapshot: what it is of, as JSON. */
const RECORD_SUFFIX = '.img.snapshot';
const PROBES = ['.aoe-reflink-probe', '.aoe-reflink-probe-clone'] as const;

interface Record {
  snapshot: string;
  volumeUID: string;
  createdAt: string;
  /** Bytes of the file that are the volume's data; all of them when it is absent. */
  bytes?: number;
}

/** What snapshots that are prepared together may take. */
interface Admitted {
  /** What each file had of its own, at the least, when it was admitted. */
  own: ReadonlyMap<string, Own>;
  /** Whether every file can be counted again while its volume is held. */
  isShort: boolean;
  /** Bytes that were free on the file system then, less those that were charged since. */
  room: number;
  /** Bytes of the pool that are left for what is written until they are made. */
  left: number;
}

export interface FileSnapshotsOptions {
  directory: string;
  fs: FileSystem;
  /** Checks that the directory is the pool's. @throws BackendError */
  prepare: () => Promise<void>;
  /** The file of a volume. */
  pathOf: (volumeUID: string) => string;
  tails: Pick<FileTails, 'of' | 'note'>;
  /** One at a time, so that each is admitted on the room that those before it have left, and that a volume is held once. */
  serial: Serial;
  unshared: Pick<UnsharedBytes, 'renew' | 'forget'>;
  /** @throws BackendError */
  space: (signal: AbortSignal) => Promise<SpaceFound>;
}

/** Clones of files (reflinks), named by UID: a clone shares its blocks with the volume until one of them is written. */
export class FileSnapshots implements Snapshots {
  readonly #options: FileSnapshotsOptions;
  readonly serial: Serial;
  readonly blocks: FileBlocks;

  constructor(options: FileSnapshotsOptions) {
    this.#options = options;
    const { fs, serial } = options;
    this.serial = serial;
    this.blocks = new FileBlocks({ fs, find: (uid) => this.#usable(uid) });
  }

  async problem(): Promise<string | undefined> {
    const { directory, fs, prepare } = this.#options;
    await prepare();
    if (!mayShareBlocks((await fs.statfs(directory)).type)) return this.#unsupported();
    const [from, to] = PROBES.map((name) => join(directory, name)) as [string, string];
    const remove = async (): Promise<void> => {
      for (const path of [from, to]) await fs.unlink(path).catch(() => {});
    };
    try {
      await remove();
      await fs.createSparse(from, 4096);
      await fs.clone(from, to);
      return undefined;
    } catch (error) {
      if (error instanceof BackendError) throw error;
      return isUnsupported(error) ? this.#unsupported() : `clones of files in ${directory} were tried, and failed: ${messageOf(error)}`;
    } finally {
      await remove();
    }
  }

  async list(signal: AbortSignal): Promise<BackingSnapshot[]> {
    const { directory, fs, prepare } = this.#options;
    await prepare();
    const names = (await fs.readdir(directory)).filter((name) => name.endsWith(SUFFIX));
    const ids = names.map((name) => name.slice(0, -SUFFIX.length)).filter((id) => kindOf(id) === 'snapshot');
    const found: BackingSnapshot[] = [];
    for (const id of ids) {
      signal.throwIfAborted();
      const snapshot = await this.#read(id.slice(snapshotId('x').length - 1));
      if (snapshot) found.push(snapshot);
    }
    return found;
  }

  async find(uid: string): Promise<BackingSnapshot | undefined> {
    await this.#options.prepare();
    return await this.#read(uid);
  }

  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot> {
    return takeSnapshot(this, request, instant, signal);
  }

  restore(request: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    return this.serial.turn(() => this.#restore(request, snapshotUID, signal), signal);
  }

  async expose(uid: string): Promise<{ path: string; bytes: number } | undefined> {
    const found = await this.#usable(uid);
    return found && { path: found.name, bytes: found.bytes };
  }

  async conceal(): Promise<void> {
    // A file needs nothing.
  }

  async remove(uid: string, signal: AbortSignal): Promise<void> {
    const { directory, fs, prepare } = this.#options;
    await prepare();
    // The decision may be too old when the disk answers.
    signal.throwIfAborted();
    for (const suffix of [SUFFIX, NEW_SUFFIX, RECORD_SUFFIX]) await this.#unlink(this.#path(uid, suffix));
    await fs.syncDirectory(directory);
  }

  async retain(uid: string, signal: AbortSignal): Promise<void> {
    const { directory, fs, prepare } = this.#options;
    await prepare();
    const found = await this.#read(uid);
    signal.throwIfAborted();
    try {
      // Without the tail it is an image like any other.
      if (found && isKnown(found)) await fs.shorten(found.name, found.bytes);
      await fs.rename(this.#path(uid, SUFFIX), this.#path(uid, RETAINED_SUFFIX));
      await fs.syncDirectory(directory);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw failed(`keeping ${this.#path(uid, SUFFIX)}`, error);
    }
  }

  async prepare(requests: readonly SnapshotRequest[], signal: AbortSignal): Promise<PreparedSnapshot[]> {
    const { prepare, pathOf } = this.#options;
    await prepare();
    const prepared: PreparedSnapshot[] = [];
    const sources: string[] = [];
    const admitted: Admitted = { own: new Map(), isShort: false, room: 0, left: 0 };
    for (const request of requests) {
      const found = await this.#read(request.uid);
      const source = pathOf(request.volumeUID);
      if (!found) {
        await this.#unlink(this.#path(request.uid, NEW_SUFFIX));
        sources.push(source);
      }
      prepared.push({ ...this.#prepared(request, source, admitted), ...(found ? { found } : {}) });
    }
    if (sources.length > 0) await this.#admit(sources, admitted, signal);
    return prepared;
  }

  #prepared({ uid, name, volumeUID }: SnapshotRequest, source: string, admitted: Admitted): PreparedSnapshot {
    const { directory, fs, tails, unshared } = this.#options;
    const half = this.#path(uid, NEW_SUFFIX);
    const translated = async <R>(work: () => Promise<R>): Promise<R> => {
      try {
        return await work();
      } catch (error) {
        if (isUnsupported(error)) throw new BackendError('SnapshotsUnsupported', this.#unsupported(), { cause: error });
        if (hasCode(error, 'ENOSPC')) throw new BackendError('PoolFull', `no space left in ${directory}`, { cause: error });
        throw error instanceof Error && 'syscall' in error ? failed(`cloning ${source}`, error) : error;
      }
    };
    let size: Pick<Record, 'bytes'> = {};
    return {
      make: () =>
        translated(async () => {
          await this.#admitMore(source, admitted);
          // Before the clone: as soon as the volume may be removed, its note may be gone.
          const { bytes, tail } = await tails.of(volumeUID, (await fs.stat(source)).size);
          if (bytes === 0)
            throw new BackendError('BackendFailed', `what may be exported of ${source} cannot be read, so no snapshot is taken of it`);
          size = tail ? { bytes } : {};
          try {
            await fs.clone(source, half);
          } finally {
            unshared.forget(source);
          }
        }),
      finish: (createdAt) =>
        translated(async () => {
          await fs.syncFile(half);
          const record: Record = { snapshot: name, volumeUID, createdAt: createdAt.toISOString(), ...size };
          await fs.write(this.#path(uid, RECORD_SUFFIX), `${JSON.stringify(record)}\n`);
          await fs.rename(half, this.#path(uid, SUFFIX));
          await fs.syncDirectory(directory);
          const taken = await this.#read(uid);
          if (!taken) throw new BackendError('BackendFailed', `${this.#path(uid, SUFFIX)} vanished after it was made`);
          return taken;
        }),
      discard: async () => {
        await this.#unlink(half);
        // What was counted while the clone was there is not too much.
        unshared.renew(source);
      },
    };
  }

  /** Clones a snapshot under a name that does not count, then gives it its full size, then its name. */
  async #restore({ uid, name, bytes, tail: wantsTail }: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean> {
    const { directory, fs, prepare, pathOf, space, tails } = this.#options;
    await prepare();
    const path = pathOf(uid);
    if (await this.#exists(path)) return true;
    const found = await this.#usable(snapshotUID);
    if (!found) return false;
    const source = found.name;
    const [exported, tail] = [roundUp(bytes, MiB), wantsTail ? TAIL_BYTES : 0];
    const size = exported + tail;
    const { free, message } = (await space(signal)).space;
    if (size > free) {
      const text = `${directory} has ${free} bytes that are not promised to a volume, and ${size} are needed`;
      throw new BackendError('PoolFull', `${text}${because(message)}`);
    }
    const half = `${path}.new`;
    await this.#unlink(half);
    try {
      await fs.clone(source, half);
      await fs.shorten(half, found.bytes);
      await fs.extend(half, size);
      await tails.note(uid, exported, tail);
      await fs.write(`${path}.volume`, `${name}\n`);
      await fs.rename(half, path);
      await fs.syncDirectory(directory);
    } catch (error) {
      if (hasCode(error, 'ENOSPC')) throw new BackendError('PoolFull', `no space left in ${directory}`, { cause: error });
      throw failed(`cloning ${source}`, error);
    }
    return true;
  }

  async #exists(path: string): Promise<boolean> {
    try {
      return (await this.#options.fs.stat(path)).file;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false;
      throw failed(`looking at ${path}`, error);
    }
  }

  /**
   * Refuses when the file system could fill if every block that the snapshots share were written. They need what their files have of their own, by
   * the same count as what is left. So the count may be of a while ago: what it lacks is missing on both sides.
   * @throws BackendError
   */
  async #admit(sources: readonly string[], admitted: Admitted, signal: AbortSignal): Promise<void> {
    const { directory, unshared, space } = this.#options;
    for (const source of sources) unshared.renew(source);
    const { left, room, own, space: measured } = await space(signal);
    const needed = sources.reduce((sum, source) => sum + (own.get(source)?.bytes ?? 0), 0);
    const isShort = sources.every((source) => own.get(source)?.isShort);
    // Those that were just counted and have nothing of their own need nothing, whatever fills the file system.
    const most = isShort ? Math.max(0, left) : left;
    Object.assign(admitted, { own, isShort, room, left: most - needed });
    if (needed <= most) return;
    const what = `${sources.length > 1 ? 'snapshots' : 'a snapshot'} of ${sources.join(', ')}`;
    const has = most < 0 ? `lacks ${-most} that were promised to volumes` : `has ${most} that are not promised to a volume`;
    throw new BackendError('PoolFull', `${what} may need ${needed} bytes, and ${directory} ${has}${because(measured.message)}`);
  }

  /**
   * Refuses when what was written to a file since it was admitted takes more than is left: hosts that freeze their file systems write what they had
   * in memory.
   * @throws BackendError
   */
  async #admitMore(source: string, admitted: Admitted): Promise<void> {
    const { bytes, where } = await this.#written(source, admitted);
    const more = Math.max(0, bytes);
    if (more > admitted.left) {
      const message = `more was written to ${where} while a snapshot of ${source} was prepared: the snapshot may need ${more} more bytes, and ${this.#options.directory} has ${admitted.left} that are not promised to a volume or a snapshot`;
      throw new BackendError('PoolFull', message);
    }
    admitted.left -= more;
    admitted.room -= more;
  }

  /**
   * What was written since a file was admitted, and where. It looks at one file only, because the volume is held meanwhile. A file of very many
   * extents is not counted for that reason: when there is one, all that was written to the file system counts.
   */
  async #written(source: string, { own, isShort, room }: Admitted): Promise<{ bytes: number; where: string }> {
    const { directory, fs } = this.#options;
    try {
      const now = isShort ? await fs.unshared(source, 0) : undefined;
      if (now && now.end === undefined) return { bytes: now.bytes - (own.get(source)?.bytes ?? 0), where: source };
      const { bavail, bsize } = await fs.statfs(directory);
      return { bytes: room - bavail * bsize, where: `the file system of ${directory}` };
    } catch (error) {
      throw failed(`looking at ${source}`, error);
    }
  }

  async #read(uid: string): Promise<BackingSnapshot | undefined> {
    const { fs } = this.#options;
    const path = this.#path(uid, SUFFIX);
    try {
      const { size } = await fs.stat(path);
      const { snapshot, createdAt, bytes = size } = JSON.parse(await fs.read(this.#path(uid, RECORD_SUFFIX))) as Record;
      return { uid, snapshot, name: path, bytes, createdAt };
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw failed(`reading ${path}`, error);
    }
  }

  /** A snapshot whose data is to be used. @throws BackendError when its record does not say how much of the file that is */
  async #usable(uid: string): Promise<BackingSnapshot | undefined> {
    const found = await this.find(uid);
    if (!found || isKnown(found)) return found;
    const message = `the record of ${found.name} does not say how much of the file is the snapshot, so it is not read: an agent of an earlier version has written it. Take another snapshot, and delete this one; with deletionPolicy Retain the file stays as it is`;
    throw new BackendError('BackendFailed', message);
  }

  async #unlink(path: string): Promise<void> {
    try {
      await this.#options.fs.unlink(path);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw failed(`removing ${path}`, error);
    }
  }

  #path(uid: string, suffix: string): string {
    return join(this.#options.directory, `${snapshotId(uid)}${suffix}`);
  }

  #unsupported(): string {
    const { directory } = this.#options;
    return `the file system of ${directory} cannot share blocks between files: use XFS with reflink=1 (the default of mkfs.xfs) or btrfs; ext4 cannot`;
  }
}

/** @param message what is to be said of the pool */
function because(message: string | undefined): string {
  return message === undefined ? '' : `: ${message}`;
}

/** Whether it is known how much of the file is the snapshot. No volume has 0 bytes. */
function isKnown({ bytes }: BackingSnapshot): boolean {
  return bytes > 0;
}

/** Whether the file system has no clones. */
function isUnsupported(error: unknown): boolean {
  return ['ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'ENOTTY', 'ENOSYS'].some((code) => hasCode(error, code));
}
