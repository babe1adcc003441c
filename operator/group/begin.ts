import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoESnapshotGroup, type GroupMember, isUnderWay } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import type { Failure } from './next.ts';

export interface Cluster {
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
}

/** Characters of a name, at most (DNS subdomain, RFC 1123). */
const MAX_NAME = 253;

/** The members of a group that is to begin, or why a group of these volumes cannot be. */
export function membersOf({ metadata, spec }: AoESnapshotGroup, cluster: Cluster): GroupMember[] | Failure {
  const members: GroupMember[] = [];
  // The last one has the longest name.
  if (`${metadata.name}-${spec.members.length - 1}`.length > MAX_NAME) {
    return {
      reason: 'InvalidName',
      message: `the name of the group is too long: those of its members, which end in a number, have ${MAX_NAME} characters at most`,
    };
  }
  for (const [index, { volumeName, volumeUID }] of spec.members.entries()) {
    const found = memberOf(volumeName, volumeUID, cluster);
    if ('reason' in found) return found;
    members.push({ name: `${metadata.name}-${index}`, volumeName, ...found });
  }
  return members;
}

function memberOf(
  volumeName: string,
  wantedUID: string | undefined,
  { volumes, nodes, kubeNodes }: Cluster,
): Pick<GroupMember, 'volumeUID' | 'nodeName'> | Failure {
  const volume = volumes.get(volumeName);
  const what = `AoEVolume ${volumeName}`;
  if (!volume || (wantedUID !== undefined && volume.metadata.uid !== wantedUID)) {
    return { reason: 'VolumeNotFound', message: `${what}${wantedUID ? ` with UID ${wantedUID}` : ''} does not exist` };
  }
  const { metadata, spec, status } = volume;
  if (metadata.deletionTimestamp) return { reason: 'VolumeDeleting', message: `${what} is being deleted` };
  if (spec.external) return { reason: 'SnapshotsUnsupported', message: `${what} is served by a target outside of this project` };
  const { nodeName } = spec;
  if (nodeName === undefined || status?.capacity === undefined) return { reason: 'VolumeNotReady', message: `${what} has no data yet` };
  if (!nodes.get(nodeName)) {
    return { reason: 'StorageNodeGone', message: `${what} is on node ${nodeName}, which has no AoENode: does the agent run there?` };
  }
  const why = notReady(kubeNodes.get(nodeName));
  if (why !== undefined) return { reason: 'StorageNodeNotReady', message: `${what}: ${why}` };
  return { volumeUID: metadata.uid ?? '', nodeName };
}

/**
 * The group for which another one has to wait: it is under way, or older, and has a storage node in common. An agent keeps the turn of a
 * pool from the preparation until the snapshot is taken, so two groups could wait for each other.
 * @param groups all groups
 */
export function blockerOf(
  group: AoESnapshotGroup,
  groups: readonly AoESnapshotGroup[],
  { volumes }: Pick<Cluster, 'volumes'>,
): AoESnapshotGroup | undefined {
  const nodesOf = ({ spec, status }: AoESnapshotGroup): (string | undefined)[] =>
    status?.members?.map(({ nodeName }) => nodeName) ?? spec.members.map(({ volumeName }) => volumes.get(volumeName)?.spec.nodeName);
  const own = new Set(nodesOf(group));
  const overlaps = (other: AoESnapshotGroup): boolean => nodesOf(other).some((node) => node !== undefined && own.has(node));
  return groups.find((other) => {
    if (other.metadata.uid === group.metadata.uid || !overlaps(other)) return false;
    if (isUnderWay(other)) return true;
    return other.status?.stage === undefined && !other.metadata.deletionTimestamp && isOlder(other, group);
  });
}

function isOlder({ metadata: a }: AoESnapshotGroup, { metadata: b }: AoESnapshotGroup): boolean {
  const [since, than] = [a.creationTimestamp ?? '', b.creationTimestamp ?? ''];
  return since === than ? a.name < b.name : since < than;
}
