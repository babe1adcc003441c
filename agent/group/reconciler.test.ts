import { setImmediate as tick } from 'node:timers/promises';
import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup, GroupStage } from '../../api/snapshot-group.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { type KubeObject, TimeoutError } from '../../kube/mod.ts';
import { SnapshotReconciler } from '../snapshot/reconciler.ts';
import { SnapshotRecords } from '../snapshot/records.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FakeSnapshots } from '../testing/fake-snapshots.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { NO_FREEZE } from '../testing/no-freeze.ts';
import { GroupReconciler } from './reconciler.ts';

const NO_COPIES = { reconcile: async () => ({ report: { served: undefined, exported: undefined } }) };
const signal = new AbortController().signal;
const log = pino({ level: 'silent' });
const AT = '2026-11-28T08:00:00.000Z';

/** Group `g` of `v` and `w` in one pool on this node, and of one on another node. */
async function world() {
  const kube = new FakeKube();
  const target = new FakeTarget();
  const disk = new FakeSnapshots();
  const put = (kind: string, name: string, rest: object) => kube.put({ kind, metadata: { name, uid: name }, ...rest } as never);
  put('AoEPool', 'thin', { spec: { backend: 'lvm-thin' } });
  for (const [slot, uid] of ['v', 'w'].entries()) {
    const metadata = { name: uid, uid, finalizers: [VOLUME_FINALIZER] };
    put('AoEVolume', uid, { metadata, spec: { nodeName: 'n', pool: 'thin' }, status: { capacity: '1Mi' } });
    await target.export({ uid, shelf: 1, slot, path: '/x', serial: uid, readOnly: false, bytes: 0, macs: [], writesNeedLock: false });
    put('AoESnapshot', `g-${slot}`, { spec: { volumeName: uid, group: { name: 'g', uid: 'g' } }, status: { assignedNode: 'n' } });
  }
  const members = [
    { name: 'g-0', volumeName: 'v', volumeUID: 'v', nodeName: 'n' },
    { name: 'g-1', volumeName: 'w', volumeUID: 'w', nodeName: 'n' },
    { name: 'g-2', volumeName: 'x', volumeUID: 'x', nodeName: 'elsewhere' },
  ];
  const group = () => kube.read<AoESnapshotGroup & KubeObject>({ kind: 'AoESnapshotGroup' }, 'g');
  const member = (name: string) => kube.read<AoESnapshot & KubeObject>({ kind: 'AoESnapshot' }, name);
  /** The operator brings the group to a stage, as the agents' reports say. */
  const to = (stage: GroupStage) => {
    const now = members.map((each) => ({ ...each, ...(stage === 'Taking' ? { hold: member(each.name)?.status?.member?.hold ?? 0 } : {}) }));
    put('AoESnapshotGroup', 'g', { spec: {}, status: { stage, members: now, ...(stage === 'Taking' ? { createdAt: AT } : {}) } });
  };
  const steps = () => ['g-0', 'g-1'].map((name) => member(name)?.status?.member?.step);
  const reason = (name: string) => member(name)?.status?.conditions?.find(({ type }) => type === 'Taken')?.reason;
  /** An agent that was just started. */
  const agent = ({ isPatient = true } = {}) => {
    const snapshots = kube.store<AoESnapshot>('AoESnapshot');
    const groups = kube.store<AoESnapshotGroup>('AoESnapshotGroup');
    const records = new SnapshotRecords({ node: 'n', kube, snapshots, log });
    const context = {
      node: 'n',
      records,
      volumes: kube.store<AoEVolume>('AoEVolume'),
      pools: kube.store<AoEPool>('AoEPool'),
      backendOf: () => ({ snapshots: disk, find: async () => undefined }) as never,
      target: {
        connected: true,
        problem: '',
        state: (uid: string) => target.volumes.get(uid),
        supports: (feature: string) => target.features.includes(feature),
        hold: (uid: string) => target.hold(uid),
        release: (uid: string, hold: number) => target.release(uid, hold),
      },
      log,
    };
    const waitFor = async <R>(
      name: string,
      ask: (now: AoESnapshotGroup | undefined) => R | undefined | false,
      options: { signal?: AbortSignal | undefined },
    ): Promise<R> => {
      for (;;) {
        options.signal?.throwIfAborted();
        const answer = ask(groups.get(name));
        if (answer !== undefined && answer !== false) return answer;
        if (!isPatient && String(ask).includes('wanted')) throw new TimeoutError('it did not happen');
        await tick();
      }
    };
    const work = new GroupReconciler({ ...context, groups: { ...groups, waitFor } });
    return {
      work,
      single: new SnapshotReconciler({
        ...context,
        freeze: NO_FREEZE,
        copyExport: NO_COPIES,
        copyOut: { copier: new FakeCopier(), bytesPerSecond: 0 },
        endGroup: (uid) => work.end(uid),
        signal,
      }),
    };
  };
  const until = async (isSo: () => boolean) => {
    for (let turns = 0; !isSo(); turns++) {
      expect(turns, JSON.stringify([steps(), group()?.status])).toBeLessThan(2_000);
      await tick();
    }
  };
  return { kube, target, disk, agent, to, steps, reason, member, until };
}

type World = Awaited<ReturnType<typeof world>>;

/** Brings the members to be held. */
async function untilHeld({ to, until, steps, target }: World): Promise<void> {
  await until(() => steps().every((step) => step === 'Prepared'));
  expect(target.holds.size, 'nothing is held before all are ready').toBe(0);
  to('Holding');
  await until(() => steps().every((step) => step === 'Held'));
}

test('members in one pool are held together, taken at the instant of the group, and released', async () => {
  const it = await world();
  const { work, single } = it.agent();
  it.to('Preparing');
  const done = work.reconcile('g', signal);
  await untilHeld(it);
  expect([...it.target.holds.keys()]).toStrictEqual(['v', 'w']);
  expect(it.disk.half.size, 'nothing is made before all are held').toBe(0);
  it.to('Taking');
  await done;
  expect([it.steps(), it.target.holds.size]).toStrictEqual([['Taken', 'Taken'], 0]);
  expect(it.member('g-0')?.status).toMatchObject({ createdAt: AT, nodeName: 'n', pool: 'thin', volumeUID: 'v', capacity: '1Mi' });
  await single.reconcile('g-0', signal);
  await work.reconcile('g', signal);
  expect(it.steps()).toStrictEqual(['Taken', 'Taken']);
});

test('a member whose data is to be copied is taken at the instant of the group, and is not whole yet', async () => {
  const it = await world();
  it.disk.areUnfinished = true;
  const { work, single } = it.agent();
  it.to('Preparing');
  const done = work.reconcile('g', signal);
  await untilHeld(it);
  it.to('Taking');
  await done;
  expect([it.steps(), it.target.holds.size]).toStrictEqual([['Taken', 'Taken'], 0]);
  expect([it.member('g-0')?.status?.createdAt, it.reason('g-0'), it.reason('g-1')]).toStrictEqual([AT, 'Copying', 'Copying']);
  await single.reconcile('g-0', signal);
  await it.agent().work.reconcile('g', signal);
  expect([it.steps(), it.reason('g-0')]).toStrictEqual([['Taken', 'Taken'], 'Copying']);
});

test('a volume that was not held until its snapshot was made has none, and says so', async () => {
  const it = await world();
  const { work } = it.agent();
  it.to('Preparing');
  const done = work.reconcile('g', signal);
  await untilHeld(it);
  it.target.holds.delete('w');
  it.to('Taking');
  await done;
  expect([it.steps()[1], it.reason('g-1')]).toStrictEqual(['Failed', 'NotHeld']);
  expect([it.disk.half.size, it.disk.whole.size, it.target.holds.size]).toStrictEqual([0, 0, 0]);
  await work.reconcile('g', signal);
  expect(it.steps()).toStrictEqual(['Failed', 'Failed']);
});

test('a group that has failed, or a member that is deleted, ends the holds at once', async () => {
  for (const how of ['group', 'member'] as const) {
    const it = await world();
    const { work, single } = it.agent();
    it.to('Preparing');
    const done = work.reconcile('g', signal);
    await untilHeld(it);
    if (how === 'group') it.to('Failed');
    else {
      await it.kube.delete({ kind: 'AoESnapshot' } as never, 'g-0');
      await single.reconcile('g-0', signal);
      expect(it.member('g-0')).toBeUndefined();
    }
    await done;
    expect([it.target.holds.size, it.disk.half.size]).toStrictEqual([0, 0]);
  }
});

test('an agent that was started while volumes were held begins nothing, and reports what is whole', async () => {
  const it = await world();
  const first = it.agent();
  it.to('Preparing');
  const crashed = first.work.reconcile('g', signal);
  await untilHeld(it);
  it.disk.whole.set('g-0', { uid: 'g-0', snapshot: 'g-0', name: 'fake/snap-g-0', bytes: 1, createdAt: AT });
  await it.agent().work.reconcile('g', signal);
  expect([it.steps(), it.reason('g-1')]).toStrictEqual([['Taken', 'Failed'], 'NotHeld']);
  it.to('Failed');
  await crashed;
});

test('what keeps a member from being taken is said before anything is held', async () => {
  for (const [change, wanted] of [
    [(it: World) => (it.disk.obstacle = 'ext4'), 'SnapshotsUnsupported'],
    [(it: World) => (it.target.features = []), 'TargetTooOld'],
    [(it: World) => it.kube.remove({ kind: 'AoEVolume' }, 'v'), 'VolumeNotFound'],
    [(it: World) => it.kube.remove({ kind: 'AoEPool' }, 'thin'), 'NoSuchPool'],
  ] as const) {
    const it = await world();
    change(it);
    it.to('Preparing');
    await it.agent().work.reconcile('g', signal);
    expect([it.steps()[0], it.reason('g-0'), it.target.calls.includes('hold')]).toStrictEqual(['Failed', wanted, false]);
  }
});

test('a group that does not go on is given up by the agent', async () => {
  const it = await world();
  it.to('Preparing');
  await it.agent({ isPatient: false }).work.reconcile('g', signal);
  expect([it.steps(), it.reason('g-0')]).toStrictEqual([['Failed', 'Failed'], 'NotHeld']);
});
