import type { Resource } from './meta.ts';
import type { AoEPoolSpec, AoEPoolStatus, Backend, PoolNode } from './schema/pool.ts';

export type { AoEPoolSpec, AoEPoolStatus, Backend, PoolNode };
export type AoEPool = Resource<AoEPoolSpec, AoEPoolStatus>;
