import type { AoESnapshot, AoESnapshotStatus } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { type ActiveStage, nextStage } from './next.ts';

const SINCE = '2026-11-28T08:00:00.000Z';
const MEMBERS = ['v', 'w'].map((volumeName, index) => ({
  name: `g-${index}`,
  volumeName,
  volumeUID: volumeName,
  nodeName: 'n',
  hold: index + 5,
}));
const GROUP = { metadata: { name: 'g', uid: 'g-uid' }, status: { stageSince: SINCE, members: MEMBERS } } as AoESnapshotGroup;

type Member = (AoESnapshotStatus & { groupUID?: string; deleted?: boolean }) | undefined;
const prepared: Member = { member: { step: 'Prepared' } };
const held = (hold: number): Member => ({ member: { step: 'Held', hold } });
const taken = (hold: number): Member => ({ member: { step: 'Taken', hold }, createdAt: SINCE });
const failed: Member = {
  member: { step: 'Failed' },
  conditions: [{ type: 'Taken', status: 'False', reason: 'PoolFull', message: 'full', lastTransitionTime: SINCE }],
};

function next(stage: ActiveStage, members: readonly Member[], afterMs = 1_000) {
  const snapshots = members.map((member, index): AoESnapshot | undefined => {
    if (!member) return undefined;
    const { groupUID = 'g-uid', deleted, ...status } = member;
    const metadata = { name: `g-${index}`, ...(deleted ? { deletionTimestamp: SINCE } : {}) };
    return { metadata, spec: { volumeName: 'v', group: { name: 'g', uid: groupUID } }, status } as AoESnapshot;
  });
  return nextStage(GROUP, stage, (name) => snapshots.find((each) => each?.metadata.name === name), Date.parse(SINCE) + afterMs);
}

for (const [what, stage, members, want] of [
  ['all are prepared: hold', 'Preparing', [prepared, prepared], { kind: 'go', stage: 'Holding' }],
  ['one is not there yet: wait', 'Preparing', [prepared, undefined], { kind: 'wait', forMs: 29_000 }],
  ['another one has the name: wait for it to go', 'Preparing', [prepared, { ...prepared, groupUID: 'old' }], { kind: 'wait' }],
  ['all are held: take', 'Holding', [held(1), held(2)], { kind: 'go', stage: 'Taking', members: [{ hold: 1 }, { hold: 2 }] }],
  ['one is not held yet: wait', 'Holding', [held(1), prepared], { kind: 'wait', forMs: 9_000 }],
  ['all are taken: commit', 'Taking', [taken(5), taken(6)], { kind: 'go', stage: 'Committed' }],
  ['one is still held: wait', 'Taking', [taken(5), held(6)], { kind: 'wait', forMs: 119_000 }],
  ['one was taken under another hold', 'Taking', [taken(5), taken(7)], { failure: { reason: 'NotHeld' } }],
  ['one has failed', 'Preparing', [prepared, failed], { failure: { reason: 'PoolFull', message: /g-1 of AoEVolume w on node n: full/ } }],
  ['one is being deleted', 'Preparing', [prepared, { ...prepared, deleted: true }], { failure: { reason: 'MemberDeleted' } }],
  ['one was deleted', 'Holding', [held(1), undefined], { failure: { reason: 'MemberDeleted' } }],
  ['an old agent has taken one by itself', 'Preparing', [prepared, { createdAt: SINCE }], { failure: { reason: 'AgentTooOld' } }],
] as [string, ActiveStage, Member[], { failure?: { reason?: string; message?: RegExp } }][]) {
  test(`${stage}, ${what}`, () => {
    const { failure } = want;
    const wanted = failure?.message ? { failure: { ...failure, message: expect.stringMatching(failure.message) } } : want;
    expect(next(stage, members)).toMatchObject(wanted);
  });
}

test('an agent that does not report ends the attempt, and what was reported counts however late it is', () => {
  expect(next('Holding', [held(1), prepared], 10_001)).toMatchObject({
    kind: 'fail',
    failure: { reason: 'NotHeld', message: expect.stringMatching(/AoEVolume w on node n is not held yet, after 10 s/) },
  });
  expect(next('Holding', [held(1), held(2)], 600_000)).toMatchObject({ stage: 'Taking' });
  expect(next('Taking', [taken(5), taken(6)], 600_000)).toMatchObject({ stage: 'Committed' });
  // A clock that was set back.
  expect(next('Holding', [held(1), prepared], -600_000)).toStrictEqual({ kind: 'wait', forMs: 10_000 });
});

for (const [what, member, want] of [
  ['the operator has not assigned', {}, /AoEVolume w on node n is not assigned to that node yet, after 30 s: the operator /],
  ['its agent has said nothing of', { assignedNode: 'n' }, /is not prepared yet, after 30 s: does the agent run there\?/],
  ['an agent has, which has not prepared it', { nodeName: 'n' }, /is not prepared yet, after 30 s/],
  ['was never made', undefined, /does not exist yet, after 30 s: is another one of that name still being deleted\?/],
] as [string, Member, RegExp][]) {
  test(`the message says who did not do its part: a member that ${what}`, () => {
    expect(next('Preparing', [prepared, member], 30_001)).toMatchObject({ failure: { message: expect.stringMatching(want) } });
  });
}
