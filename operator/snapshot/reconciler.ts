import type { Address } from '../../api/address.ts';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS } from '../../api/resources.ts';
import { type AoESnapshot, isUncommitted, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { type AoESnapshotGroup, isCommitted } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { applyStatus, type EventRecorder, type Kube, KubeError, type Result, type Store } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import type { Refused } from '../placement/placement.ts';
import { assignedNodeOf } from './assigned-node.ts';
import type { SnapshotCopies } from './copies.ts';
import { statusOf, type Verdict } from './status.ts';

/** Until an address is asked for again, when there was none. No watch shows that one is free. */
const RETRY_MS = 30_000;

interface Options {
  readonly kube: Pick<Kube, 'get' | 'apply' | 'delete'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly snapshots: Pick<Store<AoESnapshot>, 'get'>;
  readonly groups: Pick<Store<AoESnapshotGroup>, 'get'>;
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly copies: SnapshotCopies;
  /** An address that nobody has. */
  readonly newCopyAddress: () => Address | Refused;
}

/** Keeps condition Ready and the phase of an AoESnapshot; its agent does the work. */
export async function reconcileSnapshot(
  { kube, events, snapshots, groups, volumes, nodes, kubeNodes, copies, newCopyAddress }: Options,
  name: string,
  signal: AbortSignal,
): Promise<Result | undefined> {
  const snapshot = snapshots.get(name);
  if (!snapshot) {
    copies.settle(name, undefined);
    return undefined;
  }
  const { metadata, spec, status } = snapshot;
  const group = spec.group && groups.get(spec.group.name);
  const isOfGroup = group !== undefined && group.metadata.uid === spec.group?.uid;
  if (spec.group && !isOfGroup && !metadata.deletionTimestamp && isUncommitted(snapshot)) {
    return await removeStray(kube, snapshot, spec.group, signal);
  }
  const wantedUID = status?.volumeUID ?? spec.volumeUID;
  const named = volumes.get(spec.volumeName);
  const volume = wantedUID === undefined || named?.metadata.uid === wantedUID ? named : undefined;
  const node = status?.nodeName ?? volume?.spec.nodeName;
  const obstacle = node === undefined ? undefined : obstacleOf(name, node, nodes.get(node), kubeNodes.get(node));
  const { conditions, fields } = statusOf(snapshot, { volume, obstacle, isCommitted: isOfGroup && isCommitted(group) });
  let refused: Refused | undefined;
  const copied = copies.fieldsOf(snapshot, () => {
    const given = newCopyAddress();
    if ('refused' in given) refused = given;
    return given;
  });
  if (refused) events.event(snapshot, 'Warning', 'NoCopyAddress', `volumes wait to be copied from the snapshot: ${refused.message}`);
  try {
    const written = await applyStatus(kube, AOE_SNAPSHOTS, snapshot, {
      manager: FIELD_MANAGER,
      conditions,
      fields: { ...fields, ...copied, assignedNode: assignedNodeOf(snapshot, volume, isOfGroup ? group : undefined) },
      // The agent may have begun to serve an address that is to be taken back.
      still: (now) => copied.copyAddress !== undefined || now.status?.copyServed === undefined,
      signal,
    });
    copies.settle(name, written);
    return refused ? { requeueAfterMs: RETRY_MS } : undefined;
  } catch (error) {
    // After a broken connection it may still arrive: the next attempt, which follows soon, settles it.
    if (error instanceof KubeError && error.code < 500) copies.settle(name, undefined);
    throw error;
  }
}

/** Deletes a member of a group that is gone and was never committed: it may show another instant than the other members. */
async function removeStray(
  kube: Options['kube'],
  { metadata: { name, uid } }: AoESnapshot,
  group: { name: string; uid: string },
  signal: AbortSignal,
): Promise<undefined> {
  // The cache may not show the group yet.
  const present = await kube.get<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, group.name, { signal });
  if (present?.metadata.uid === group.uid) return;
  await kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal });
}

/** What is wrong with the storage node of a snapshot. */
function obstacleOf(snapshot: string, node: string, aoeNode: AoENode | undefined, kubeNode: KubeNode | undefined): Verdict | undefined {
  if (!aoeNode) {
    const message = kubeNode
      ? `node ${node}, which has the data, has no AoENode: does the agent run there?`
      : `node ${node}, which has the data, does not exist any more: bring it back; or, if it never comes back, delete the AoESnapshot and remove its finalizer ${SNAPSHOT_FINALIZER} (kubectl edit aoesnapshot ${snapshot})`;
    return { status: 'False', reason: 'StorageNodeGone', message };
  }
  const why = notReady(kubeNode);
  return why === undefined ? undefined : { status: 'Unknown', reason: 'StorageNodeNotReady', message: why };
}
