import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';

/** What keeps a placed volume from being served: the health of its storage node. */
export interface Obstacle {
  readonly obstacle: 'StorageNodeGone' | 'StorageNodeNotReady';
  /** For people. */
  readonly message: string;
}

interface Stores {
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
}

/** What is wrong with the storage node of a placed volume; undefined when nothing is. */
export function obstacleOf({ spec }: AoEVolume, { nodes, kubeNodes }: Stores): Obstacle | undefined {
  const { nodeName } = spec;
  if (nodeName === undefined) return undefined;
  if (!nodes.get(nodeName))
    return { obstacle: 'StorageNodeGone', message: `node ${nodeName}, which holds the data, has no AoENode: bring the node back` };
  const why = notReady(kubeNodes.get(nodeName));
  return why === undefined
    ? undefined
    : { obstacle: 'StorageNodeNotReady', message: `${why}: I/O may wait until it is back; the volume is not moved` };
}
