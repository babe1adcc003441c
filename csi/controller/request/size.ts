import type { AoEPool } from '../../../api/pool.ts';
import { formatQuantity, MiB, parseQuantity, roundDown, roundUp } from '../../../api/quantity.ts';
import { type AoEVolume, diskBytesFor, type Encrypted, LUKS_SECTOR_BYTES, userBytesOf } from '../../../api/volume.ts';
import { type csi, fromInt64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';

/** Size of a volume when the request names none, in bytes. */
const DEFAULT_BYTES = 1024 ** 3;

/** The smallest volume that mkfs formats, in bytes (xfsprogs, mkfs/xfs_mkfs.c, validate_supported). */
const MINIMUM_BYTES: Readonly<Record<string, number>> = { xfs: 300 * MiB };

/** The sizes that a request allows, in bytes; 0 is no bound. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

/** The bounds of a request. @throws RpcError INVALID_ARGUMENT when they are negative, OUT_OF_RANGE when no volume can meet them */
export function boundsOf(range: csi.v1.ICapacityRange | null | undefined): Bounds {
  const least = fromInt64(range?.requiredBytes);
  const most = fromInt64(range?.limitBytes);
  if (least < 0 || most < 0) throw new RpcError(Code.INVALID_ARGUMENT, `capacity_range ${least} to ${most}: a size cannot be negative`);
  if (most > 0 && least > most) throw new RpcError(Code.OUT_OF_RANGE, `capacity_range: at least ${least} and at most ${most} bytes`);
  if (least > Number.MAX_SAFE_INTEGER) throw new RpcError(Code.OUT_OF_RANGE, `capacity_range: ${least} bytes are more than 8 PiB`);
  return { least, most };
}

/**
 * The size of the disk to request, in bytes. Backends round sizes up; on at least one node the result must be within the bounds.
 * @param bounds of what the user gets
 * @param encrypted what else must have room on the disk
 * @throws RpcError OUT_OF_RANGE
 */
export function chooseSize({ least, most }: Bounds, pool: AoEPool | undefined, encrypted: Encrypted = {}): number {
  // A disk that is encrypted is a whole number of the units in which that is done.
  const grain = encrypted.encryption ? LUKS_SECTOR_BYTES : 1;
  const withOverhead = (bytes: number): number => diskBytesFor(encrypted, roundUp(bytes, grain));
  if (most === 0) return withOverhead(least || DEFAULT_BYTES);
  const finest = Math.min(...(pool?.status?.nodes ?? []).map(({ granularity = '1' }) => Math.max(1, parseQuantity(granularity))));
  const unit = Math.max(grain, Number.isFinite(finest) ? finest : 1);
  const limit = diskBytesFor(encrypted, roundDown(most, grain));
  const bytes = least ? withOverhead(least) : Math.min(withOverhead(DEFAULT_BYTES), Math.floor(limit / unit) * unit);
  const made = Math.ceil(bytes / unit) * unit;
  if (userBytesOf(encrypted, bytes) > 0 && userBytesOf(encrypted, made) <= most) return bytes;
  throw new RpcError(
    Code.OUT_OF_RANGE,
    `volumes of pool ${pool?.metadata.name} are multiples of ${formatQuantity(unit)}: none is between ${least} and ${most} bytes${encrypted.encryption ? ', once there is room for the LUKS header and what else encryption needs' : ''}`,
  );
}

/** Size of a volume in bytes, as its user sees it: as its target reports it, else as it was requested, without what encryption takes. */
export function capacityOf({ spec, status }: AoEVolume): number {
  return userBytesOf(spec, parseQuantity(status?.capacity ?? spec.capacity ?? '0'));
}

/**
 * Refuses a size that mkfs cannot format: the claim would be bound, and each attempt to mount it would fail.
 * @throws RpcError OUT_OF_RANGE
 */
export function checkFilesystemFits({ least, most }: Bounds, filesystems: readonly string[]): void {
  for (const type of filesystems) {
    const minimum = MINIMUM_BYTES[type] ?? 0;
    if ([least, most].some((bound) => bound > 0 && bound < minimum))
      throw new RpcError(Code.OUT_OF_RANGE, `a volume with ${type} needs at least ${formatQuantity(minimum)}`);
  }
}
