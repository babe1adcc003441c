import { type AoESnapshot, isUncommitted } from '../../api/snapshot.ts';
import { type AoESnapshotGroup, type AoESnapshotGroupStatus, GROUP_READY } from '../../api/snapshot-group.ts';
import type { StatusPart } from '../../kube/mod.ts';
import type { Verdict } from '../snapshot/status.ts';

/** What is said of a group in each stage but the last. */
const STAGES = {
  Preparing: 'the agents of all members get ready',
  Holding: 'the agents of all members hold their volumes',
  Taking: 'all members are held, and the snapshots are taken',
  Failed: 'there is no snapshot of any member',
} as const;

/** Condition Ready of a group, by its stage. */
export function readyOf({ metadata, status }: AoESnapshotGroup, snapshot: (name: string) => AoESnapshot | undefined): Verdict {
  const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
  if (metadata.deletionTimestamp) return no('Deleting', 'the members are being removed');
  const { stage, members = [], createdAt } = status ?? {};
  if (stage === undefined) return no('Waiting', 'the group has not begun');
  if (stage !== 'Committed') return no(stage, STAGES[stage]);
  for (const { name } of members) {
    const found = snapshot(name);
    if (!found || found.spec.group?.uid !== metadata.uid) return no('MemberDeleted', `AoESnapshot ${name} does not exist any more`);
    const ready = found.status?.conditions?.find(({ type }) => type === GROUP_READY);
    // Its own condition is a little late.
    if (found.status?.phase === 'Ready' || isUncommitted(found)) continue;
    return {
      status: ready?.status ?? 'Unknown',
      reason: ready?.reason ?? 'Waiting',
      message: `AoESnapshot ${name}: ${ready?.message ?? ''}`,
    };
  }
  return { status: 'True', reason: 'Committed', message: `${members.length} snapshots have the data of ${createdAt}` };
}

/** The operator's part of a group's status: all of it. */
export function statusOf(
  { metadata }: AoESnapshotGroup,
  status: Pick<AoESnapshotGroupStatus, 'stage' | 'stageSince' | 'createdAt' | 'members'>,
  verdict: Verdict,
): Required<Pick<StatusPart, 'conditions' | 'fields'>> {
  const { generation: observedGeneration } = metadata;
  const { stage, stageSince, createdAt, members } = status;
  const phase = metadata.deletionTimestamp
    ? 'Deleting'
    : verdict.status === 'True'
      ? 'Ready'
      : stage === 'Failed' || (stage === 'Committed' && verdict.status === 'False' && verdict.reason !== 'Copying')
        ? 'Failed'
        : 'Pending';
  return {
    conditions: [{ type: GROUP_READY, ...verdict, observedGeneration }],
    fields: { observedGeneration, phase, stage, stageSince, createdAt, members },
  };
}
