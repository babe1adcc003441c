import type { Resource } from './meta.ts';
import type { Abandoned, AoEPoolSpec, AoEPoolStatus, Backend, Displaced, PoolNode, ReclaimZeros, WipeExtent } from './schema/pool.ts';

export type { Abandoned, AoEPoolSpec, AoEPoolStatus, Backend, Displaced, PoolNode, ReclaimZeros, WipeExtent };
export type AoEPool = Resource<AoEPoolSpec, AoEPoolStatus>;

/** At most this many abandoned volumes of a pool are remembered, the newest ones. */
export const MAX_ABANDONED = 200;
/** At most this many addresses of each of them are remembered, the newest ones. */
export const MAX_ABANDONED_ADDRESSES = 8;

/** Condition types of an AoEPool. */
export const PoolCondition = {
  /** operator: volumes can be created on at least one node. The reason says whether something is wrong on any of its nodes. */
  Ready: 'Ready',
} as const;

/** Whether the pool is on a node with these labels: it has every label of the selector. */
export function selects({ spec }: Pick<AoEPool, 'spec'>, labels: Readonly<Record<string, string>> = {}): boolean {
  return Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
}

/** Whether volumes share blocks with snapshots in the pool; where they do not, each volume of a snapshot is a copy. A pool that is not known does. */
export function sharesBlocks(pool: Pick<AoEPool, 'spec'> | undefined): boolean {
  return pool?.spec.backend !== 'lvm';
}
