import { Code, RpcError } from '../../../rpc/status.ts';
import type { Disk, Filesystems, MountPoint } from '../contracts.ts';

/** A file system cannot use less than this much more. */
const LEAST_BYTES = 4096;

/**
 * Makes a mounted file system as large as its disk. One that fills its disk stays as it is, and so does one that nobody may write to.
 * @returns whether it was made larger
 * @throws RpcError INTERNAL
 */
export async function growFilesystem(
  filesystems: Pick<Filesystems, 'size' | 'grow'>,
  disk: Disk,
  mount: Pick<MountPoint, 'target' | 'type' | 'options' | 'superOptions'>,
  signal: AbortSignal,
): Promise<boolean> {
  if (mount.options.includes('ro') || mount.superOptions.includes('ro')) return false;
  const bytes = await filesystems.size(disk.path, mount.type, signal);
  if (bytes === undefined || disk.bytes - bytes < LEAST_BYTES) return false;
  await filesystems.grow({ device: disk.path, path: mount.target, type: mount.type }, signal);
  return true;
}

/**
 * The size in bytes that a superblock names; undefined when it is not one of this type.
 * @param start the first 2048 bytes of the disk
 */
export function sizeInSuperblock(start: Buffer, type: string): number | undefined {
  if (start.length < 2048) return undefined;
  if (type === 'xfs') {
    // fs/xfs/libxfs/xfs_format.h, struct xfs_dsb: magic, block size, data blocks; big-endian.
    if (start.toString('latin1', 0, 4) !== 'XFSB') return undefined;
    return Number(start.readBigUInt64BE(8)) * start.readUInt32BE(4);
  }
  // fs/ext4/ext4.h, struct ext4_super_block, 1024 bytes from the start; little-endian.
  if (start.readUInt16LE(1024 + 0x38) !== 0xef53) return undefined;
  const has64Bit = (start.readUInt32LE(1024 + 0x60) & 0x80) !== 0;
  const blocks = start.readUInt32LE(1024 + 4) + (has64Bit ? start.readUInt32LE(1024 + 0x150) * 2 ** 32 : 0);
  return blocks * 1024 * 2 ** start.readUInt32LE(1024 + 0x18);
}

/** @throws RpcError INVALID_ARGUMENT for a type that cannot grow while it is mounted */
export function growCommand({ device, path, type }: { device: string; path: string; type: string }): [string, string[]] {
  if (type === 'ext4') return ['resize2fs', [device]];
  if (type === 'xfs') return ['xfs_growfs', ['-d', path]];
  throw new RpcError(Code.INVALID_ARGUMENT, `file system ${type} cannot be made larger`);
}
