import { dirname, resolve } from 'node:path';
import { LateError, type Operation, type OperationOptions, ThreadGate } from '../../../run/hung/thread-gate.ts';
import { BackendError } from '../backend.ts';
import type { FileSystem } from './file-system.ts';

/**
 * Threads for the file operations of all pools together, of the four that Node.js has. The others are for what else needs one: programs, such as
 * those of LVM, and frames.
 */
const THREADS = 2;

/** In milliseconds. Nothing is cut off: what takes longer goes on, and what it did is found as after a crash. */
export interface GateLimits {
  /** An operation that takes longer is late: the directory does not answer. */
  readonly lateMs: number;
  /** For how long the caller of one waits that changes something. On a busy disk it waits for what others have written (fsync(2)). */
  readonly changeMs: number;
  /**
   * For how long the caller of one waits that takes minutes where files have tens of millions of extents, or where much must be written first: it
   * would have to begin again.
   */
  readonly longMs: number;
}

const LIMITS: GateLimits = { lateMs: 20_000, changeMs: 120_000, longMs: 3_600_000 };

const ADVICE =
  'look in the kernel log (dmesg) for a disk or a file server below it that does not answer, and for a suspended device (dmsetup info)';

type How = Pick<OperationOptions, 'isUrgent' | 'limitMs'>;

/**
 * One operation on files at a time in each directory. While one is late, all others there fail at once; other directories and LVM go on. For
 * all file pools of a node.
 */
export class DirectoryGates {
  readonly #gate: ThreadGate;
  readonly #limits: GateLimits;

  constructor(limits: Partial<GateLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#gate = new ThreadGate({ lateMs: this.#limits.lateMs, places: THREADS });
  }

  /** @throws BackendError PoolNotReady while the directory does not answer */
  check(directory: string): void {
    const key = resolve(directory);
    try {
      this.#gate.check(key);
    } catch (error) {
      throw refusal(key, error);
    }
  }

  /** A file system whose calls throw BackendError PoolNotReady, too. A file is of the directory that it is in. */
  guard(fs: FileSystem): FileSystem {
    const { changeMs, longMs } = this.#limits;
    // Before changes: writes to volumes wait while clones of them are made.
    const [quick, urgentLong] = [{ isUrgent: true }, { isUrgent: true, limitMs: longMs }];
    const [change, long] = [{ limitMs: changeMs }, { limitMs: longMs }];
    const turn = async <T>(directory: string, doing: string, how: How, task: () => Promise<T>): Promise<T> => {
      const key = resolve(directory);
      try {
        return await this.#gate.run({ key, doing, ...how }, task);
      } catch (error) {
        throw refusal(key, error);
      }
    };
    const itself = <T>(directory: string, doing: string, how: How, task: () => Promise<T>): Promise<T> =>
      turn(directory, `${doing} ${directory}`, how, task);
    const inside = <T>(file: string, doing: string, how: How, task: () => Promise<T>): Promise<T> =>
      turn(dirname(file), `${doing} ${file}`, how, task);
    return {
      readdir: (path) => itself(path, 'listing', quick, () => fs.readdir(path)),
      device: (path) => itself(path, 'looking at', quick, () => fs.device(path)),
      statfs: (path) => itself(path, 'measuring', quick, () => fs.statfs(path)),
      mkdir: (path) => itself(path, 'making', change, () => fs.mkdir(path)),
      syncDirectory: (path) => itself(path, 'syncing', change, () => fs.syncDirectory(path)),
      stat: (path) => inside(path, 'looking at', quick, () => fs.stat(path)),
      inspect: (path) => inside(path, 'looking at', quick, () => fs.inspect(path)),
      read: (path) => inside(path, 'reading', quick, () => fs.read(path)),
      mapping: (path, from) => inside(path, 'reading the extents of', urgentLong, () => fs.mapping(path, from)),
      unshared: (path, from) => fs.unshared(path, from, (step) => inside(path, 'reading the extents of', urgentLong, step)),
      clone: (from, to) => inside(from, 'cloning', urgentLong, () => fs.clone(from, to)),
      write: (path, text) => inside(path, 'writing', change, () => fs.write(path, text)),
      createSparse: (path, bytes) => inside(path, 'making', change, () => fs.createSparse(path, bytes)),
      extend: (path, bytes) => inside(path, 'extending', change, () => fs.extend(path, bytes)),
      shorten: (path, bytes) => inside(path, 'shortening', change, () => fs.shorten(path, bytes)),
      rename: (from, to) => inside(from, 'renaming', change, () => fs.rename(from, to)),
      link: (from, to) => inside(from, 'linking', change, () => fs.link(from, to)),
      unlink: (path) => inside(path, 'removing', change, () => fs.unlink(path)),
      syncFile: (path) => inside(path, 'syncing', long, () => fs.syncFile(path)),
      // They read the mount table, and not a disk.
      isMountPoint: (path) => fs.isMountPoint(path),
      mountedAt: (path) => fs.mountedAt(path),
    };
  }
}

/** The error of a caller that was refused, or that waited in vain. Others stay as they are. */
function refusal(directory: string, error: unknown): unknown {
  if (!(error instanceof LateError)) return error;
  const { late } = error;
  const own = late.find(({ key }) => key === directory);
  const message = own
    ? `directory ${directory}: ${named(own)}, has not ended, so nothing else is done there until it has: ${ADVICE}`
    : `directory ${directory}: nothing is done there, because file pools have all threads that they may have in other directories, in operations that have not ended (${late.map(named).join('; ')}): ${ADVICE}`;
  return new BackendError('PoolNotReady', message, { cause: error });
}

function named({ doing, since }: Operation): string {
  return `${doing}, begun at ${since}`;
}
