import type { Condition } from '../../api/meta.ts';
import { type AoESnapshot, isUncommitted, SnapshotCondition, type SnapshotPhase } from '../../api/snapshot.ts';
import { type AoEVolume, DELETION_WAITS, isCopiedAway } from '../../api/volume.ts';
import type { StatusPart } from '../../kube/mod.ts';

export type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

/** Reasons that end by themselves: the snapshot waits, nothing has failed. */
const WAITING = new Set([
  'Waiting',
  'Taking',
  'Freezing',
  'Copying',
  'VolumeMoving',
  'VolumeNotReady',
  'TargetUnavailable',
  'NotHeld',
  'GroupNotCommitted',
]);

export interface Findings {
  /** The AoEVolume that spec.volumeName and spec.volumeUID mean; undefined when there is none. */
  volume: AoEVolume | undefined;
  /** What is wrong with the storage node that has the snapshot, or is to take it; undefined when nothing is. */
  obstacle: Verdict | undefined;
  /** Whether the group is committed that the snapshot is a member of. */
  isCommitted?: boolean;
}

/** Condition Ready: what the agent says of the snapshot, as far as its node can be relied on. */
function ready(snapshot: AoESnapshot, { volume, obstacle, isCommitted }: Findings): Verdict {
  const { metadata, spec, status } = snapshot;
  const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
  const taken = status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
  const node = status?.nodeName ?? volume?.spec.nodeName;
  if (metadata.deletionTimestamp) {
    if (obstacle) return no(obstacle.reason, `${DELETION_WAITS}${obstacle.message}`);
    if (taken?.message.startsWith(DELETION_WAITS)) return no(taken.reason, taken.message);
    return no('Deleting', node ? `the agent on ${node} is removing the snapshot` : 'waiting for finalizers of others');
  }
  if (obstacle) return obstacle;
  if (spec.group && isUncommitted(snapshot) && !isCommitted && (!taken || taken.status === 'True')) {
    return no('GroupNotCommitted', `waiting until AoESnapshotGroup ${spec.group.name} has all its members`);
  }
  if (taken) return { status: taken.status, reason: taken.reason, message: taken.message };
  if (!volume)
    return no('VolumeNotFound', `AoEVolume ${spec.volumeName}${spec.volumeUID ? ` with UID ${spec.volumeUID}` : ''} does not exist`);
  if (volume.spec.external) return no('SnapshotsUnsupported', `AoEVolume ${spec.volumeName} is served by a target outside of this project`);
  if (node === undefined) return no('VolumeNotReady', `AoEVolume ${spec.volumeName} has no storage node yet`);
  if (isCopiedAway(volume)) return no('VolumeMoving', `AoEVolume ${spec.volumeName} is being moved: the snapshot is taken after that`);
  return no('Waiting', `waiting for the agent on ${node}`);
}

function phaseOf({ metadata }: AoESnapshot, { status, reason }: Verdict): SnapshotPhase {
  if (metadata.deletionTimestamp) return 'Deleting';
  if (status === 'True') return 'Ready';
  return status === 'False' && !WAITING.has(reason) ? 'Failed' : 'Pending';
}

/** The operator's part of a snapshot's status. */
export function statusOf(snapshot: AoESnapshot, findings: Findings): Required<Pick<StatusPart, 'conditions' | 'fields'>> {
  const verdict = ready(snapshot, findings);
  // Once it is, it stays so, also when the group is gone.
  const isCommitted = findings.isCommitted || snapshot.status?.committed;
  const { generation: observedGeneration } = snapshot.metadata;
  return {
    conditions: [{ type: SnapshotCondition.Ready, ...verdict, observedGeneration }],
    fields: { observedGeneration, phase: phaseOf(snapshot, verdict), ...(isCommitted ? { committed: true } : {}) },
  };
}
