import { type AoESnapshot, type MemberStep, SnapshotCondition } from '../../api/snapshot.ts';
import type { AoESnapshotGroup, GroupMember, GroupStage } from '../../api/snapshot-group.ts';

/**
 * Limits for the stages of a group, in milliseconds. While volumes are held, the target's own limit is 10 s. In stage Taking that is over
 * soon, and then LVM marks one member of a volume group after the other.
 */
const LIMITS_MS = { Preparing: 30_000, Holding: 10_000, Taking: 120_000 } as const;
export type ActiveStage = keyof typeof LIMITS_MS;

/** What every agent has to report in a stage before the next one begins. */
const WANTED: Record<ActiveStage, { step: MemberStep; next: GroupStage }> = {
  Preparing: { step: 'Prepared', next: 'Holding' },
  Holding: { step: 'Held', next: 'Taking' },
  Taking: { step: 'Taken', next: 'Committed' },
};

/** Why there is no group snapshot. The message names the member. */
export interface Failure {
  reason: string;
  message: string;
}

export type Next =
  | { kind: 'wait'; forMs: number }
  | { kind: 'go'; stage: GroupStage; members: GroupMember[] }
  | { kind: 'fail'; failure: Failure };

/**
 * What follows in a stage: a pure function, so that an operator that was started again goes on where the other one was.
 * @param snapshot finds an AoESnapshot by its name
 * @param now milliseconds, as Date.now() has them
 */
export function nextStage(
  { metadata, status }: AoESnapshotGroup,
  stage: ActiveStage,
  snapshot: (name: string) => AoESnapshot | undefined,
  now: number,
): Next {
  const { step: wanted, next } = WANTED[stage];
  const members: GroupMember[] = [];
  let missing: { what: string; why: string } | undefined;
  for (const member of status?.members ?? []) {
    const named = snapshot(member.name);
    // Another one of that name may be about to vanish.
    const found = named?.spec.group?.uid === metadata.uid ? named : undefined;
    const failure = failureOf(member, found, stage);
    if (failure) return { kind: 'fail', failure };
    const { step, hold } = found?.status?.member ?? {};
    if (!found || step !== wanted) missing ??= missingOf(member, found, wanted);
    members.push(stage === 'Holding' && hold !== undefined ? { ...member, hold } : member);
  }
  // Whatever the time: what the agents report is true.
  if (missing === undefined) return { kind: 'go', stage: next, members };
  const limit = LIMITS_MS[stage];
  const left = Math.min(limit, Date.parse(status?.stageSince ?? '') + limit - now);
  if (left > 0) return { kind: 'wait', forMs: left };
  return { kind: 'fail', failure: { reason: 'NotHeld', message: `${missing.what}, after ${limit / 1000} s: ${missing.why}` } };
}

/** What a member lacks, and who it depends on, for people. An agent does nothing before the operator has assigned the member to its node. */
function missingOf(member: GroupMember, found: AoESnapshot | undefined, wanted: MemberStep): { what: string; why: string } {
  const what = describeMember(member);
  const { assignedNode, nodeName, member: report } = found?.status ?? {};
  if (!found) return { what: `${what} does not exist yet`, why: 'is another one of that name still being deleted?' };
  if ((assignedNode ?? nodeName) === undefined && !report)
    return { what: `${what} is not assigned to that node yet`, why: 'the operator had no time for it, or could not write it' };
  return { what: `${what} is not ${wanted.toLowerCase()} yet`, why: 'does the agent run there?' };
}

/** Why a member can no longer be part of the group. */
function failureOf(member: GroupMember, found: AoESnapshot | undefined, stage: ActiveStage): Failure | undefined {
  const what = describeMember(member);
  // It is created in this stage.
  if (!found) return stage === 'Preparing' ? undefined : { reason: 'MemberDeleted', message: `${what} was deleted` };
  const { metadata, status } = found;
  if (metadata.deletionTimestamp) return { reason: 'MemberDeleted', message: `${what} is being deleted` };
  const { step, hold } = status?.member ?? {};
  const taken = status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
  if (step === 'Failed') return { reason: taken?.reason ?? 'NotHeld', message: `${what}: ${taken?.message ?? 'not taken'}` };
  if (step === undefined && status?.createdAt !== undefined) {
    return { reason: 'AgentTooOld', message: `${what} was taken by an agent of an earlier version, which knows no groups: upgrade it` };
  }
  if (stage === 'Taking' && step === 'Taken' && hold !== member.hold) {
    return { reason: 'NotHeld', message: `${what} was taken under hold ${hold}, and not under hold ${member.hold} as all others` };
  }
  return undefined;
}

/** A member, for people. */
export function describeMember({ name, volumeName, nodeName }: GroupMember): string {
  return `AoESnapshot ${name} of AoEVolume ${volumeName} on node ${nodeName}`;
}
