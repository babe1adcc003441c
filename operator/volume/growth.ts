import { available, footprint, isPlaced, reservedCapacity } from '../../api/capacity.ts';
import type { Condition } from '../../api/meta.ts';
import type { AoEPool } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, isCopiedAway, VolumeCondition } from '../../api/volume.ts';
import type { Reservations } from '../placement/reservations.ts';

/** What is decided about the size of a volume. */
export interface Growth {
  /** status.reserved. */
  readonly reserved: string | undefined;
  /** Condition Grown; undefined while the volume has never been asked to grow. */
  readonly verdict?: Pick<Condition, 'status' | 'reason' | 'message'>;
}

/**
 * Reserves room in the pool for a volume whose spec.capacity has grown, before its agent makes it larger. A capacity that is taken back
 * gives back what was reserved.
 * @param others what is reserved for other volumes, as far as this operator knows
 */
export function growthOf(volume: AoEVolume, pools: readonly AoEPool[], others: Pick<Reservations, 'taken'>): Growth {
  const { metadata, spec, status } = volume;
  const { capacity: wanted } = spec;
  if (!wanted || spec.external || !isPlaced(volume)) return { reserved: undefined };
  const has = reservedCapacity(volume) ?? wanted;
  if (metadata.deletionTimestamp) return { reserved: has };
  if (parseQuantity(wanted) > parseQuantity(has)) {
    const problem = problemOf(volume, { wanted, has }, pools, others);
    if (isCopiedAway(volume)) {
      const message = `the volume is being moved, and grows to ${wanted} after that`;
      return { reserved: has, verdict: { status: 'False', reason: 'Moving', message } };
    }
    if (problem) return { reserved: has, verdict: { status: 'False', ...problem } };
  }
  const { capacity = wanted } = status ?? {};
  const reserved = parseQuantity(wanted) >= parseQuantity(capacity) ? wanted : capacity;
  if (parseQuantity(capacity) < parseQuantity(wanted)) {
    const message = `room for ${wanted} is reserved; the agent on ${spec.nodeName} is making the volume larger, which has ${capacity} now`;
    return { reserved, verdict: { status: 'False', reason: 'Growing', message } };
  }
  const before = status?.conditions?.some(({ type }) => type === VolumeCondition.Grown);
  return { reserved, ...(before ? { verdict: { status: 'True', reason: 'Grown', message: `the volume has ${capacity}` } } : {}) };
}

function problemOf(
  { metadata, spec, status }: AoEVolume,
  { wanted, has }: { wanted: string; has: string },
  pools: readonly AoEPool[],
  others: Pick<Reservations, 'taken'>,
): Pick<Condition, 'reason' | 'message'> | undefined {
  const pool = pools.find(({ metadata: { name } }) => name === spec.pool);
  const node = pool?.status?.nodes?.find(({ name }) => name === spec.nodeName);
  if (!pool)
    return {
      reason: 'PoolNotReady',
      message: `AoEPool ${spec.pool} does not exist, so the volume does not grow: create it again as it was`,
    };
  if (!node?.ready) {
    const why = node?.message ? `: ${node.message}` : '';
    const reason = node?.full ? 'PoolFull' : 'PoolNotReady';
    return { reason, message: `pool ${spec.pool} is not ready on ${spec.nodeName}, so the volume does not grow yet${why}` };
  }
  const room = available(pool, node, pools, (name) => others.taken(name, node, metadata.name));
  if (footprint(wanted, node) <= room) return undefined;
  const [more, free] = [footprint(wanted, node) - footprint(has, node), Math.max(0, room - footprint(has, node))].map(formatQuantity);
  const back = status?.capacity ?? has;
  const message = `pool ${spec.pool} on ${spec.nodeName} has ${free} free, and ${more} more are needed to grow from ${back} to ${wanted}; the volume grows when there is room, or set spec.capacity back to ${back}`;
  return { reason: 'PoolFull', message };
}
