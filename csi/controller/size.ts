import type { AoEPool } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type csi, fromInt64 } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';

/** Size of a volume when the request leaves it to us, in bytes. */
const DEFAULT_BYTES = 1024 ** 3;

/** What a request allows, in bytes; 0: no bound. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

/** @throws RpcError INVALID_ARGUMENT for negative bounds, OUT_OF_RANGE for those that no volume can meet */
export function boundsOf(range: csi.v1.ICapacityRange | null | undefined): Bounds {
  const least = fromInt64(range?.requiredBytes);
  const most = fromInt64(range?.limitBytes);
  if (least < 0 || most < 0) throw new RpcError(Code.INVALID_ARGUMENT, `capacity_range ${least} to ${most}: a size cannot be negative`);
  if (most > 0 && least > most) throw new RpcError(Code.OUT_OF_RANGE, `capacity_range: at least ${least} and at most ${most} bytes`);
  if (least > Number.MAX_SAFE_INTEGER) throw new RpcError(Code.OUT_OF_RANGE, `capacity_range: ${least} bytes are more than 8 PiB`);
  return { least, most };
}

/**
 * The size to ask for, in bytes. Backends round sizes up; the outcome must keep within the bounds on one node at least.
 * @throws RpcError OUT_OF_RANGE
 */
export function chooseSize({ least, most }: Bounds, pool: AoEPool | undefined): number {
  if (most === 0) return least || DEFAULT_BYTES;
  const grain = Math.min(...(pool?.status?.nodes ?? []).map(({ granularity = '1' }) => Math.max(1, parseQuantity(granularity))));
  const unit = Number.isFinite(grain) ? grain : 1;
  const bytes = least || Math.min(DEFAULT_BYTES, Math.floor(most / unit) * unit);
  const made = Math.ceil(bytes / unit) * unit;
  if (bytes > 0 && made <= most) return bytes;
  throw new RpcError(
    Code.OUT_OF_RANGE,
    `volumes of pool ${pool?.metadata.name} are multiples of ${formatQuantity(unit)}: none is between ${least} and ${most} bytes`,
  );
}
