import { constants } from 'node:fs';
import { copyFile, link, lstat, mkdir, open, readdir, readFile, rename, stat, statfs, unlink, writeFile } from 'node:fs/promises';
import type { Mapping } from './compare-extents.ts';
import { mappingOf, type UnsharedPart, unsharedBytes } from './extents.ts';

/** The file operations of the file backend. A crash may come after each of them. */
export interface FileSystem {
  readdir(path: string): Promise<string[]>;
  /** `blocks` of 512 bytes; `device` is the number of the file system's device. */
  stat(path: string): Promise<{ file: boolean; size: number; blocks: number; device: number }>;
  /** What is at a path itself, not what a link there leads to; undefined when nothing is there. `links`: names of the file. */
  inspect(path: string): Promise<{ file: boolean; size: number; links: number; device: number; inode: number } | undefined>;
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
  /** Bytes of a file's blocks that no other file shares, in a part of the file that begins at a byte. */
  unshared(path: string, from: number): Promise<UnsharedPart>;
  /** The first extents of a file from a byte on that hold data. What is between them, up to `end`, reads as zeros. */
  mapping(path: string, from: number): Promise<Mapping>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file another name, and fails when there is a file of that name. */
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Whether a whole file system is mounted at the path. */
  isMountPoint(path: string): Promise<boolean>;
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

export const nodeFileSystem: FileSystem = {
  readdir: (path) => readdir(path),
  stat: async (path) => {
    const stats = await stat(path);
    return { file: stats.isFile(), size: stats.size, blocks: stats.blocks, device: stats.dev };
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
  unshared: unsharedBytes,
  mapping: mappingOf,
  rename,
  link,
  unlink,
  isMountPoint: async (path) => {
    // proc_pid_mountinfo(5): mount ID, parent, device, root of the mount within its file system, mount point. The last one hides the others.
    // A pod has a mount of a plain directory of its node, too, but that one's root is the directory's path, not /.
    const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
    return mounts.findLast(([, , , , mountPoint]) => mountPoint === path)?.[3] === '/';
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
