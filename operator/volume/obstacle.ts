import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoEVolume, GIVE_UP, isReportOfPlace, MOVE_TO } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import { outlookOf } from './unmade.ts';

/** What keeps a placed volume from being served, or deleted: the state of its storage node. */
export interface Obstacle {
  readonly obstacle: 'GivenUp' | 'MoveWaits' | 'Moving' | 'StorageNodeGone' | 'StorageNodeNotReady';
  /** For people. */
  readonly message: string;
}

interface Cluster {
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  /** A person has given up the data, and the node does not exist. */
  readonly isGivenUp: boolean;
  /** What a move waits for that a person asks for, while the node does not exist. */
  readonly moveWaits?: string | undefined;
  /** How far a move is that copies the data. */
  readonly moving?: string | undefined;
  readonly stuck?: Stuck | undefined;
}

/** Why a volume keeps its node, although its disk was never made there, and cannot be. */
export interface Stuck {
  /** What keeps the disk from being made, for people. */
  readonly why: string;
  /** What becomes of the volume, for people. */
  readonly outlook: string;
}

/** What is wrong with the storage node of a placed volume; undefined when nothing is. */
export function obstacleOf(volume: AoEVolume, cluster: Cluster): Obstacle | undefined {
  const { nodes, kubeNodes, isGivenUp, moveWaits, moving, stuck } = cluster;
  const { metadata, spec } = volume;
  const { nodeName } = spec;
  if (nodeName === undefined) return undefined;
  if (moveWaits !== undefined) return { obstacle: 'MoveWaits', message: moveWaits };
  if (isGivenUp) {
    const message = `its data was given up with node ${nodeName} (annotation ${GIVE_UP}): delete the volume, bring the node back, or connect its disks to another node and move the volume there (annotation ${MOVE_TO})`;
    return { obstacle: 'GivenUp', message };
  }
  const kubeNode = kubeNodes.get(nodeName);
  const outlook = stuck?.outlook ?? outlookOf(volume);
  if (!nodes.get(nodeName)) {
    if (outlook !== undefined)
      return {
        obstacle: 'StorageNodeGone',
        message: `node ${nodeName} ${kubeNode ? 'has no AoENode' : 'does not exist any more'}: ${outlook}`,
      };
    const back = wayBackOf(volume);
    const message = kubeNode
      ? `node ${nodeName}, which holds the data, has no AoENode: does the agent run there?`
      : `node ${nodeName}, which holds the data, does not exist any more: bring it back; or, if its disks are in another node now, move the volume there (annotation ${MOVE_TO}); or, if it never comes back, give up its data (kubectl annotate aoev ${metadata.name} ${GIVE_UP}=${nodeName})${back}`;
    return { obstacle: 'StorageNodeGone', message };
  }
  const why = notReady(kubeNode);
  if (why === undefined && stuck)
    return { obstacle: metadata.deletionTimestamp ? 'StorageNodeNotReady' : 'MoveWaits', message: `${stuck.why}: ${stuck.outlook}` };
  if (why === undefined) return moving === undefined ? undefined : { obstacle: 'Moving', message: moving };
  return {
    obstacle: 'StorageNodeNotReady',
    message: `${why}: ${outlook ?? 'I/O may wait until it is back; the volume is not moved to another storage node automatically'}`,
  };
}

/** What else can be done when the node was lost before the volume was served there after a move, for people. */
function wayBackOf(volume: AoEVolume): string {
  const { move, nodeName } = volume.spec;
  if (move?.stage !== 'Switched') return '';
  const annotation = `${MOVE_TO}=${move.nodeName}/${move.pool}`;
  // Once the agent had the volume, hosts may have written there, and only who gives that up can go back.
  if (isReportOfPlace(volume)) return `, after which it can go back to its data from before its move, which is kept (${annotation})`;
  return `; or, as the data from before its move is kept, and node ${nodeName} has never said that it has the volume, go back to that data (${annotation})`;
}
