import type { AoENode } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import { type Informer, isConflict, isNotFound, type Kube } from '../../kube/mod.ts';
import type { Machine } from './kube-node.ts';

interface Parts {
  readonly kube: Pick<Kube, 'patch'>;
  readonly nodes: Pick<Informer<AoENode>, 'get'>;
  readonly machines: Pick<Informer<Machine>, 'get'>;
}

/** Makes the Node the owner of its AoENode: when a Node is deleted, Kubernetes removes the AoENode, and nobody goes by its addresses. */
export async function reconcileOwner({ kube, nodes, machines }: Parts, name: string, signal: AbortSignal): Promise<void> {
  const node = nodes.get(name);
  const owner = machines.get(name)?.metadata.uid;
  if (!node || !owner || node.metadata.ownerReferences?.some(({ uid }) => uid === owner)) return;
  const { uid } = node.metadata;
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: owner }];
  try {
    await kube.patch(AOE_NODES, name, { metadata: { uid, ownerReferences } }, { signal });
  } catch (error) {
    // Gone, or made anew: the watch will tell.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}
