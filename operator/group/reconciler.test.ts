import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoESnapshotGroup, GROUP_FINALIZER } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { GroupReconciler } from './reconciler.ts';

const signal = new AbortController().signal;

/** Volumes `v` on n1, `w` on n2, `x` on n3. */
function world() {
  const kube = new FakeApi();
  const put = (kind: string, name: string, rest: object) => kube.put({ kind, metadata: { name }, ...rest } as never);
  for (const [index, name] of ['v', 'w', 'x'].entries()) {
    const nodeName = `n${index + 1}`;
    put('AoEVolume', name, { spec: { nodeName }, status: { capacity: '1Gi' } });
    put('AoENode', nodeName, {});
    put('Node', nodeName, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
  }
  const clock = { now: Date.parse('2026-11-28T08:00:00Z') };
  const operator = () =>
    new GroupReconciler({
      kube,
      groups: kube.store<AoESnapshotGroup>('AoESnapshotGroup'),
      snapshots: kube.store<AoESnapshot>('AoESnapshot'),
      volumes: kube.store<AoEVolume>('AoEVolume'),
      nodes: kube.store<AoENode>('AoENode'),
      kubeNodes: kube.store<KubeNode>('Node'),
      log: { info() {}, warn() {} } as never,
      now: () => clock.now,
    });
  const ask = (name: string, volumes: readonly string[], creationTimestamp = '2026-11-28T07:00:00Z') =>
    kube.put({
      kind: 'AoESnapshotGroup',
      metadata: { name, creationTimestamp },
      spec: { members: volumes.map((volumeName) => ({ volumeName })) },
    } as never);
  const group = (name = 'g') => kube.read<AoESnapshotGroup & KubeObject>({ kind: 'AoESnapshotGroup' }, name);
  const members = () => kube.all<AoESnapshot & KubeObject>('AoESnapshot');
  /** What the agents of all members report. */
  const report = (member: NonNullable<AoESnapshot['status']>['member']) => {
    for (const snapshot of members()) kube.put({ ...snapshot, kind: 'AoESnapshot', status: { ...snapshot.status, member } } as never);
  };
  const ready = (name = 'g') => group(name)?.status?.conditions?.find(({ type }) => type === 'Ready');
  return {
    kube,
    put,
    clock,
    operator,
    ask,
    group,
    members,
    report,
    ready,
    reconcile: (name = 'g', by = operator()) => by.reconcile(name, signal),
  };
}

test('a group names its members, then goes from stage to stage, whichever operator leads', async () => {
  const { ask, reconcile, group, members, report, ready } = world();
  ask('g', ['v', 'w']);
  await reconcile();
  expect(group()).toMatchObject({
    metadata: { finalizers: [GROUP_FINALIZER] },
    status: {
      phase: 'Pending',
      stage: 'Preparing',
      members: [
        { name: 'g-0', volumeName: 'v', volumeUID: 'uid-v', nodeName: 'n1' },
        { name: 'g-1', volumeName: 'w', volumeUID: 'uid-w', nodeName: 'n2' },
      ],
    },
  });
  expect(members().map(({ spec }) => spec)).toMatchObject([
    { volumeName: 'v', volumeUID: 'uid-v', group: { name: 'g', uid: 'uid-g' } },
    { volumeName: 'w', volumeUID: 'uid-w' },
  ]);
  for (const [step, stage] of [
    ['Prepared', 'Holding'],
    ['Held', 'Taking'],
    ['Taken', 'Committed'],
  ] as const) {
    report({ step, hold: 7 });
    await reconcile();
    expect(group()?.status?.stage).toBe(stage);
  }
  expect(group()?.status).toMatchObject({ phase: 'Ready', createdAt: '2026-11-28T08:00:00.000Z' });
  expect(ready()).toMatchObject({ status: 'True', reason: 'Committed' });
  expect(members()).toHaveLength(2);
});

for (const [what, change, reason] of [
  ['does not exist', { remove: 'AoEVolume' }, 'VolumeNotFound'],
  ['is being deleted', { volume: { metadata: { name: 'w', deletionTimestamp: 'x' } } }, 'VolumeDeleting'],
  ['is external', { volume: { spec: { external: {} } } }, 'SnapshotsUnsupported'],
  ['has no data', { volume: { status: {} } }, 'VolumeNotReady'],
  ['is on a node that is gone', { remove: 'AoENode' }, 'StorageNodeGone'],
  ['is on a node that is down', { node: { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } } }, 'StorageNodeNotReady'],
] as [string, { remove?: string; volume?: object; node?: object }, string][]) {
  test(`a group with a volume that ${what} fails, names it, and nothing is made`, async () => {
    const { kube, put, ask, reconcile, ready, group, members } = world();
    if (change.remove) kube.remove({ kind: change.remove }, change.remove === 'AoENode' ? 'n2' : 'w');
    if (change.volume) put('AoEVolume', 'w', { spec: { nodeName: 'n2' }, status: { capacity: '1Gi' }, ...change.volume });
    if (change.node) put('Node', 'n2', change.node);
    ask('g', ['v', 'w']);
    await reconcile();
    expect([group()?.status?.phase, ready()?.reason, ready()?.message]).toStrictEqual([
      'Failed',
      reason,
      expect.stringMatching(/AoEVolume w/),
    ]);
    expect(members()).toStrictEqual([]);
  });
}

test('a group whose members would have names that are too long fails at once, and says so', async () => {
  const { ask, reconcile, ready } = world();
  const name = 'g'.repeat(252);
  ask(name, ['v', 'w']);
  await reconcile(name);
  expect(ready(name)).toMatchObject({ reason: 'InvalidName', message: expect.stringMatching(/253 characters at most/) });
  ask(name.slice(1), ['v', 'w']);
  await reconcile(name.slice(1));
  expect(ready(name.slice(1))?.reason).toBe('Preparing');
});

test('a member is assigned to its node at once, also when that write fails once, and a status that is there stays', async () => {
  const { kube, ask, reconcile, members, operator } = world();
  ask('g', ['v', 'w']);
  const assigned = () => members().map(({ status }) => status?.assignedNode);
  const one = operator();
  const { apply } = kube;
  let isDown = true;
  Object.assign(kube, {
    apply: (type: { kind: string }, ...rest: [never, never]) =>
      isDown && type.kind === 'AoESnapshot' ? Promise.reject(new Error('unreachable')) : apply(type, ...rest),
  });
  await expect(reconcile('g', one)).rejects.toThrow('unreachable');
  expect(assigned()).toStrictEqual([undefined, undefined]);
  isDown = false;
  await reconcile('g', one);
  expect(assigned()).toStrictEqual(['n1', 'n2']);
  for (const member of members()) kube.put({ ...member, kind: 'AoESnapshot', status: { nodeName: 'n1' } } as never);
  await reconcile('g', one);
  expect(members().map(({ status }) => status)).toStrictEqual([{ nodeName: 'n1' }, { nodeName: 'n1' }]);
});

test('a member that fails ends the group, and all members go', async () => {
  const { kube, ask, reconcile, members, ready, group } = world();
  ask('g', ['v', 'w']);
  await reconcile();
  const [, second] = members();
  const conditions = [{ type: 'Taken', status: 'False', reason: 'PoolFull', message: 'no room' }];
  kube.put({ ...second, kind: 'AoESnapshot', status: { conditions, member: { step: 'Failed' } } } as never);
  await reconcile();
  expect([group()?.status?.stage, ready()?.reason]).toStrictEqual(['Failed', 'PoolFull']);
  expect(ready()?.message).toMatch(/g-1 of AoEVolume w on node n2: no room; there is no snapshot of any member/);
  expect(members()).toStrictEqual([]);
});

test('an AoESnapshot of another owner is never taken for a member, nor removed', async () => {
  const { put, ask, reconcile, members, ready } = world();
  put('AoESnapshot', 'g-1', { spec: { volumeName: 'w' } });
  ask('g', ['v', 'w']);
  await reconcile();
  expect(ready()?.reason).toBe('NameTaken');
  expect(members().map(({ metadata }) => metadata.name)).toStrictEqual(['g-1']);
});

test('groups with a storage node in common go one after the other, others at once', async () => {
  const { ask, reconcile, group, ready, operator, kube } = world();
  ask('younger', ['w', 'v'], '2026-11-28T07:00:01Z');
  ask('g', ['v', 'w']);
  ask('apart', ['x'], '2026-11-28T07:00:02Z');
  const one = operator();
  await Promise.all(['younger', 'g', 'apart'].map((name) => reconcile(name, one)));
  expect(['younger', 'g', 'apart'].map((name) => group(name)?.status?.stage)).toStrictEqual([undefined, 'Preparing', 'Preparing']);
  expect(ready('younger')).toMatchObject({ reason: 'Waiting', message: expect.stringMatching(/AoESnapshotGroup g /) });
  await kube.delete({ kind: 'AoESnapshotGroup' }, 'g');
  await reconcile('g', one);
  await reconcile('g', one);
  expect(group()).toBeUndefined();
  await reconcile('younger', one);
  expect(group('younger')?.status?.stage).toBe('Preparing');
});

test('a group that is deleted while it is under way keeps no other one waiting, also when a member cannot be removed', async () => {
  const { ask, reconcile, group, members, put, operator, kube } = world();
  ask('g', ['v', 'w']);
  const one = operator();
  await reconcile('g', one);
  // As the agent of each member does. That of `w` is away from now on.
  for (const { metadata, ...rest } of members())
    put('AoESnapshot', metadata.name, { ...rest, metadata: { ...metadata, finalizers: ['x'] } });
  await kube.delete({ kind: 'AoESnapshotGroup' }, 'g');
  await reconcile('g', one);
  ask('next', ['v'], '2026-11-28T07:00:01Z');
  await reconcile('next', one);
  expect(group()).not.toBeUndefined();
  expect(group('next')?.status?.stage).toBe('Preparing');
});

test('an operator that was the leader before changes nothing that the present one has decided', async () => {
  const { ask, reconcile, group, report, operator, kube, clock } = world();
  ask('g', ['v', 'w']);
  await reconcile();
  report({ step: 'Prepared' });
  await reconcile();
  const late = kube.lateStore<AoESnapshotGroup & KubeObject>('AoESnapshotGroup');
  late.catchUp();
  const old = new GroupReconciler({
    kube,
    groups: late as never,
    snapshots: kube.store('AoESnapshot'),
    volumes: kube.store('AoEVolume'),
    nodes: kube.store('AoENode'),
    kubeNodes: kube.store('Node'),
    log: { info() {}, warn() {} } as never,
    now: () => clock.now + 60_000,
  });
  report({ step: 'Held', hold: 1 });
  await reconcile('g', operator());
  report({ step: 'Taken', hold: 1 });
  await reconcile('g', operator());
  report({ step: 'Failed' });
  await old.reconcile('g', signal);
  expect(group()?.status?.stage).toBe('Committed');
});
