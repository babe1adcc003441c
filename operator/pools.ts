import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_POOLS } from '../api/resources.ts';
import { type Informer, type Kube, KubeError } from '../kube/mod.ts';

interface Options {
  readonly kube: Pick<Kube, 'patch'>;
  readonly pools: Pick<Informer<AoEPool>, 'get'>;
  readonly nodes: Pick<Informer<AoENode>, 'get'>;
}

/** Takes entries of nodes that are gone out of a pool's status: nobody else would, since each agent writes only its own. */
export async function reconcilePool({ kube, pools, nodes }: Options, name: string, signal: AbortSignal): Promise<void> {
  const pool = pools.get(name);
  const entries = pool?.status?.nodes ?? [];
  const present = entries.filter((entry) => nodes.get(entry.name));
  if (!pool || present.length === entries.length) return;
  try {
    const { resourceVersion } = pool.metadata;
    await kube.patch(AOE_POOLS, name, { metadata: { resourceVersion }, status: { nodes: present } }, { subresource: 'status', signal });
  } catch (error) {
    // Changed or gone meanwhile: the watch will tell.
    if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}
