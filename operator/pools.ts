import { isDeepStrictEqual } from 'node:util';
import { poolTotals } from '../api/capacity.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_POOLS, API_VERSION } from '../api/resources.ts';
import { type Informer, type Kube, KubeError } from '../kube/mod.ts';
import { FIELD_MANAGER } from './volume-status.ts';

interface Options {
  readonly kube: Pick<Kube, 'patch' | 'apply'>;
  readonly pools: Pick<Informer<AoEPool>, 'get'>;
  readonly nodes: Pick<Informer<AoENode>, 'get'>;
}

/**
 * Takes entries of nodes that are gone out of a pool's status (nobody else would, since each agent writes only its own), and sums
 * up the others.
 */
export async function reconcilePool({ kube, pools, nodes }: Options, name: string, signal: AbortSignal): Promise<void> {
  const pool = pools.get(name);
  if (!pool || pool.metadata.deletionTimestamp) return;
  const { nodes: entries = [], readyNodes, size, free } = pool.status ?? {};
  const present = entries.filter((entry) => nodes.get(entry.name));
  const totals = poolTotals(present);
  try {
    if (present.length !== entries.length) {
      const { resourceVersion } = pool.metadata;
      await kube.patch(AOE_POOLS, name, { metadata: { resourceVersion }, status: { nodes: present } }, { subresource: 'status', signal });
    }
    if (!isDeepStrictEqual(totals, { readyNodes, size, free })) {
      const object = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, status: totals };
      await kube.apply(AOE_POOLS, object, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
    }
  } catch (error) {
    // Changed or gone meanwhile: the watch will tell.
    if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}
