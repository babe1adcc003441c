import type { Resource } from './meta.ts';
import type { AoEPoolSpec, AoEPoolStatus, Backend, PoolNode } from './schema/pool.ts';

export type { AoEPoolSpec, AoEPoolStatus, Backend, PoolNode };
export type AoEPool = Resource<AoEPoolSpec, AoEPoolStatus>;

/** Condition types of an AoEPool. */
export const PoolCondition = {
  /** operator: volumes can be created on at least one node. The reason says whether something is wrong on any of its nodes. */
  Ready: 'Ready',
} as const;
