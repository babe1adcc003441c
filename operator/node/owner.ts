import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import { isConflict, isNotFound, type Kube, type Store } from '../../kube/mod.ts';

interface Options {
  readonly kube: Pick<Kube, 'patch'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
}

/** Makes the Node the owner of its AoENode: when the Node is deleted, Kubernetes deletes the AoENode, so nobody uses its addresses. */
export async function reconcileOwner({ kube, nodes, kubeNodes }: Options, name: string, signal: AbortSignal): Promise<void> {
  const node = nodes.get(name);
  const owner = kubeNodes.get(name)?.metadata.uid;
  if (!node || !owner || node.metadata.ownerReferences?.some(({ uid }) => uid === owner)) return;
  const { uid } = node.metadata;
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: owner }];
  try {
    await kube.patch(AOE_NODES, name, { metadata: { uid, ownerReferences } }, { signal });
  } catch (error) {
    // The AoENode is gone, or a new one: the watch will show it.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}
