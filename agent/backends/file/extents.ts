import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import koffi from 'koffi';
import type { Mapping } from './compare-extents.ts';

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
const REQUEST_FLAGS_AT = 16;
const MAPPED_COUNT_AT = 20;
const EXTENT_COUNT_AT = 24;
const PHYSICAL_AT = 8;
const LENGTH_AT = 16;
const FLAGS_AT = 40;
/** Writes the file's data first, so that it has its places on the disk. */
const SYNC = 0x1;
const LAST = 0x1;
const UNWRITTEN = 0x800;
const SHARED = 0x2000;
/** UNKNOWN, DELALLOC, ENCODED, DATA_ENCRYPTED, NOT_ALIGNED, DATA_INLINE, DATA_TAIL: the place on the disk does not say which data it is. */
const NO_PLACE = 0x78e;
const EXTENTS_AT_ONCE = 512;
/** Calls for one part of a file: half a million extents. */
const CALLS_AT_ONCE = 1_000;
/** Calls before others have their turn in the directory: some 100 ms. */
const CALLS_IN_A_TURN = 100;

/** What a part of a file has of its own. */
export interface UnsharedPart {
  readonly bytes: number;
  /** Where the part ends, in bytes from the beginning of the file; absent when nothing is behind it. */
  readonly end?: number;
}

/** Does a step that may wait for the disk, when its turn comes. */
export type Turn = <T>(step: () => Promise<T>) => Promise<T>;

interface RawExtent {
  offset: bigint;
  physical: bigint;
  bytes: bigint;
  flags: number;
}

/** The first extents of a file from a byte on. @throws Error where the file system does not tell */
async function rawExtents(file: FileHandle, path: string, from: bigint, flags = 0): Promise<RawExtent[]> {
  const buffer = Buffer.alloc(HEADER_BYTES + EXTENTS_AT_ONCE * EXTENT_BYTES);
  buffer.writeBigUInt64LE(from, 0);
  buffer.writeBigUInt64LE(0xffff_ffff_ffff_ffffn - from, 8);
  buffer.writeUInt32LE(flags, REQUEST_FLAGS_AT);
  buffer.writeUInt32LE(EXTENTS_AT_ONCE, EXTENT_COUNT_AT);
  if ((await ioctl(file.fd, FS_IOC_FIEMAP, buffer)) !== 0) throw new Error(`the file system does not tell the extents of ${path}`);
  return Array.from({ length: buffer.readUInt32LE(MAPPED_COUNT_AT) }, (_, each) => {
    const at = HEADER_BYTES + each * EXTENT_BYTES;
    return {
      offset: buffer.readBigUInt64LE(at),
      physical: buffer.readBigUInt64LE(at + PHYSICAL_AT),
      bytes: buffer.readBigUInt64LE(at + LENGTH_AT),
      flags: buffer.readUInt32LE(at + FLAGS_AT),
    };
  });
}

/**
 * Bytes of a file's blocks that no other file shares, from a byte on: they stay its own when it is written, while a write to a shared block takes
 * a new one. A file of very many extents is read in parts.
 * @throws Error where the file system does not tell
 */
export async function unsharedBytes(
  path: string,
  from: number,
  { callsAtOnce = CALLS_AT_ONCE, turn = (step) => step() }: { callsAtOnce?: number; turn?: Turn | undefined } = {},
): Promise<UnsharedPart> {
  let [bytes, at] = [0, from];
  for (let calls = 0; calls < callsAtOnce; calls += CALLS_IN_A_TURN) {
    const part = await turn(() => unsharedWithin(path, BigInt(at), Math.min(CALLS_IN_A_TURN, callsAtOnce - calls)));
    bytes += part.bytes;
    if (part.end === undefined) return { bytes };
    at = part.end;
  }
  return { bytes, end: at };
}

async function unsharedWithin(path: string, from: bigint, mostCalls: number): Promise<UnsharedPart> {
  const file = await open(path, constants.O_RDONLY);
  try {
    let unshared = 0;
    let start = from;
    for (let calls = 0; calls < mostCalls; calls++) {
      const extents = await rawExtents(file, path, start);
      if (extents.length === 0) return { bytes: unshared };
      for (const { offset, bytes, flags } of extents) {
        if ((flags & SHARED) === 0) unshared += Number(bytes);
        if ((flags & LAST) !== 0) return { bytes: unshared };
        start = offset + bytes;
      }
    }
    return { bytes: unshared, end: Number(start) };
  } finally {
    await file.close();
  }
}

/** The first extents of a file from a byte on that hold data. What is between them, up to `end`, reads as zeros. */
export async function mappingOf(path: string, from: number): Promise<Mapping> {
  const file = await open(path, constants.O_RDONLY);
  try {
    const raw = await rawExtents(file, path, BigInt(from), SYNC);
    const last = raw.at(-1);
    return {
      extents: raw
        .filter(({ flags }) => (flags & UNWRITTEN) === 0)
        .map(({ offset, bytes, physical, flags }) => ({
          offset: Number(offset),
          bytes: Number(bytes),
          ...((flags & NO_PLACE) === 0 ? { physical: Number(physical) } : {}),
        })),
      end: last === undefined || (last.flags & LAST) !== 0 ? Number.POSITIVE_INFINITY : Number(last.offset + last.bytes),
    };
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
