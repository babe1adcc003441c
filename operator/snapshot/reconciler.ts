import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_SNAPSHOTS } from '../../api/resources.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { applyStatus, type Kube, type Store } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { statusOf, type Verdict } from './status.ts';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'apply'>;
  readonly snapshots: Pick<Store<AoESnapshot>, 'get'>;
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
}

/** Keeps condition Ready and the phase of an AoESnapshot; its agent does the work. */
export async function reconcileSnapshot(
  { kube, snapshots, volumes, nodes, kubeNodes }: Options,
  name: string,
  signal: AbortSignal,
): Promise<undefined> {
  const snapshot = snapshots.get(name);
  if (!snapshot) return;
  const { spec, status } = snapshot;
  const wantedUID = status?.volumeUID ?? spec.volumeUID;
  const named = volumes.get(spec.volumeName);
  const volume = wantedUID === undefined || named?.metadata.uid === wantedUID ? named : undefined;
  const node = status?.nodeName ?? volume?.spec.nodeName;
  const obstacle = node === undefined ? undefined : obstacleOf(name, node, nodes.get(node), kubeNodes.get(node));
  await applyStatus(kube, AOE_SNAPSHOTS, snapshot, { manager: FIELD_MANAGER, ...statusOf(snapshot, { volume, obstacle }), signal });
}

/** What is wrong with the storage node of a snapshot. */
function obstacleOf(snapshot: string, node: string, aoeNode: AoENode | undefined, kubeNode: KubeNode | undefined): Verdict | undefined {
  if (!aoeNode) {
    const message = kubeNode
      ? `node ${node}, which has the data, has no AoENode: does the agent run there?`
      : `node ${node}, which has the data, does not exist any more: bring it back; if it never comes back, delete the AoESnapshot and take its finalizer ${SNAPSHOT_FINALIZER} off (kubectl edit aoesnapshot ${snapshot})`;
    return { status: 'False', reason: 'StorageNodeGone', message };
  }
  const why = notReady(kubeNode);
  return why === undefined ? undefined : { status: 'Unknown', reason: 'StorageNodeNotReady', message: why };
}
