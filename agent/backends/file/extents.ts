import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import koffi from 'koffi';

const ioctlFunction = koffi.load(null).func('int ioctl(int fd, unsigned long request, void *argument)');

/** ioctl(2) on a thread of the pool: a disk that does not answer must not hold up the whole program. Resolves to -1 on failure. */
function ioctl(fd: number, request: number, argument: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    ioctlFunction.async(fd, request, argument, (error: unknown, result: number) => (error ? reject(error) : resolve(result)));
  });
}

// include/uapi/linux/fiemap.h: struct fiemap (32 bytes), followed by struct fiemap_extent (56 bytes each).
const FS_IOC_FIEMAP = 0xc020660b;
const HEADER_BYTES = 32;
const EXTENT_BYTES = 56;
const MAPPED_COUNT_AT = 20;
const EXTENT_COUNT_AT = 24;
const LENGTH_AT = 16;
const FLAGS_AT = 40;
const LAST = 0x1;
const SHARED = 0x2000;
const EXTENTS_AT_ONCE = 512;
/** A file with more extents than this is counted as if it shared all of the rest. */
const MAX_CALLS = 1_000;

/**
 * Bytes of a file's blocks that no other file shares: they stay its own when it is written, while a write to a shared block takes a new one.
 * @throws Error where the file system does not tell
 */
export async function unsharedBytes(path: string): Promise<number> {
  const file = await open(path, constants.O_RDONLY);
  try {
    let unshared = 0;
    let start = 0n;
    for (let calls = 0; calls < MAX_CALLS; calls++) {
      const buffer = Buffer.alloc(HEADER_BYTES + EXTENTS_AT_ONCE * EXTENT_BYTES);
      buffer.writeBigUInt64LE(start, 0);
      buffer.writeBigUInt64LE(0xffff_ffff_ffff_ffffn - start, 8);
      buffer.writeUInt32LE(EXTENTS_AT_ONCE, EXTENT_COUNT_AT);
      if ((await ioctl(file.fd, FS_IOC_FIEMAP, buffer)) !== 0) throw new Error(`the file system does not tell the extents of ${path}`);
      const mapped = buffer.readUInt32LE(MAPPED_COUNT_AT);
      if (mapped === 0) return unshared;
      for (let each = 0; each < mapped; each++) {
        const at = HEADER_BYTES + each * EXTENT_BYTES;
        const length = buffer.readBigUInt64LE(at + LENGTH_AT);
        const flags = buffer.readUInt32LE(at + FLAGS_AT);
        if ((flags & SHARED) === 0) unshared += Number(length);
        if ((flags & LAST) !== 0) return unshared;
        start = buffer.readBigUInt64LE(at) + length;
      }
    }
    return unshared;
  } finally {
    await file.close();
  }
}

/** EXT4_SUPER_MAGIC in linux/magic.h; ext2 and ext3 have the same. */
const EXT4 = 0xef53;

/** Whether files on a file system of this type can share blocks: it is known of the most common ones that they cannot. */
export function mayShareBlocks(type: number): boolean {
  return type !== EXT4;
}
