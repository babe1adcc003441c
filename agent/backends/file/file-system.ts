import { constants } from 'node:fs';
import { copyFile, link, lstat, mkdir, open, readdir, readFile, rename, stat, statfs, unlink, writeFile } from 'node:fs/promises';
import { messageOf } from '../../../kube/mod.ts';
import { BackendError } from '../backend.ts';
import type { Mapping } from './compare-extents.ts';
import { mappingOf, type Turn, type UnsharedPart, unsharedBytes } from './extents.ts';

/** The file operations of the file backend. A crash may come after each of them. */
export interface FileSystem {
  readdir(path: string): Promise<string[]>;
  /** `blocks` of 512 bytes. */
  stat(path: string): Promise<{ file: boolean; size: number; blocks: number }>;
  /** What is at a path itself, not what a link there leads to; undefined when nothing is there. `links`: names of the file. */
  inspect(path: string): Promise<{ file: boolean; size: number; links: number; device: number; inode: number } | undefined>;
  /** The number of the device of the file system that a directory, or a file, is on. */
  device(directory: string): Promise<number>;
  /** Blocks of `bsize` bytes: those in all, and those that are free. `type` is the number in linux/magic.h. */
  statfs(path: string): Promise<{ blocks: number; bavail: number; bsize: number; type: number }>;
  read(path: string): Promise<string>;
  /** Writes a whole small file to stable storage. */
  write(path: string, text: string): Promise<void>;
  /** Makes a directory and its parents; it is no error when they exist. */
  mkdir(path: string): Promise<void>;
  /** Makes a new sparse file of this size, on stable storage. */
  createSparse(path: string, bytes: number): Promise<void>;
  /** Makes a new file that shares all blocks of another one (ioctl_ficlone(2)), and fails where that is not possible. */
  clone(from: string, to: string): Promise<void>;
  /** Makes a file larger, on stable storage. What is added reads as zeros. */
  extend(path: string, bytes: number): Promise<void>;
  /** Makes a file smaller, on stable storage. One that is not larger than this stays as it is. */
  shorten(path: string, bytes: number): Promise<void>;
  /** Puts the data of a file on stable storage. */
  syncFile(path: string): Promise<void>;
  /**
   * Bytes of a file's blocks that no other file shares, in a part of the file that begins at a byte.
   * @param turn does each step of it; what others do may come between them
   */
  unshared(path: string, from: number, turn?: Turn): Promise<UnsharedPart>;
  /** The first extents of a file from a byte on that hold data. What is between them, up to `end`, reads as zeros. */
  mapping(path: string, from: number): Promise<Mapping>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file another name, and fails when there is a file of that name. */
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Whether a whole file system is mounted at the path. The mount table says so, not the disk. */
  isMountPoint(path: string): Promise<boolean>;
  /** The device that is mounted where a path is, as the mount table has it: `MAJOR:MINOR`. The disk is not asked. */
  mountedAt(path: string): Promise<string | undefined>;
}

/** The error when something that was being done has failed. One that says so already stays as it is. */
export function failed(doing: string, error: unknown): BackendError {
  return error instanceof BackendError ? error : new BackendError('BackendFailed', `${doing}: ${messageOf(error)}`, { cause: error });
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** What was read; undefined when it could not be. @throws BackendError when it could not be read now, because the disk does not answer */
export async function readable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof BackendError) throw error;
    return undefined;
  }
}

export const nodeFileSystem: FileSystem = {
  readdir: (path) => readdir(path),
  stat: async (path) => {
    const stats = await stat(path);
    return { file: stats.isFile(), size: stats.size, blocks: stats.blocks };
  },
  inspect: async (path) => {
    try {
      const stats = await lstat(path);
      return { file: stats.isFile(), size: stats.size, links: stats.nlink, device: stats.dev, inode: stats.ino };
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  },
  device: async (directory) => (await stat(directory)).dev,
  statfs: (path) => statfs(path),
  read: (path) => readFile(path, 'utf8'),
  write: (path, text) => writeFile(path, text, { flush: true }),
  mkdir: async (path) => {
    // Not `recursive`: with it, Node 24 never returns below /proc, where a missing parent cannot be made.
    const parents = path.split('/').filter(Boolean);
    for (let depth = 1; depth <= parents.length; depth++) {
      try {
        await mkdir(`/${parents.slice(0, depth).join('/')}`, { mode: 0o700 });
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error;
      }
    }
  },
  createSparse: async (path, bytes) => {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.truncate(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  clone: (from, to) => copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE),
  extend: async (path, bytes) => {
    const file = await open(path, 'r+');
    try {
      // Read again here: a truncation to less would destroy data.
      if ((await file.stat()).size < bytes) await file.truncate(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  shorten: async (path, bytes) => {
    const file = await open(path, 'r+');
    try {
      if ((await file.stat()).size > bytes) await file.truncate(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  syncFile: async (path) => {
    const file = await open(path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  },
  unshared: (path, from, turn) => unsharedBytes(path, from, { turn }),
  mapping: mappingOf,
  rename,
  link,
  unlink,
  isMountPoint: async (path) => {
    // A pod has a mount of a plain directory of its node, too, but that one's root is the directory's path, not /.
    return (await mounts()).findLast(({ mountPoint }) => mountPoint === path)?.root === '/';
  },
  mountedAt: async (path) => {
    const above = (await mounts()).filter(({ mountPoint }) => mountPoint === '/' || `${path}/`.startsWith(`${mountPoint}/`));
    const most = Math.max(...above.map(({ mountPoint }) => mountPoint.length));
    return above.findLast(({ mountPoint }) => mountPoint.length === most)?.device;
  },
  syncDirectory: async (path) => {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};

/** The mount table: proc_pid_mountinfo(5). `root`: of the mount within its file system. Of several at one mount point the last hides the others. */
async function mounts(): Promise<{ device: string; root: string; mountPoint: string }[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter(Boolean);
  return lines.map((line) => {
    const [, , device = '', root = '', mountPoint = ''] = line.split(' ');
    return { device, root, mountPoint };
  });
}
