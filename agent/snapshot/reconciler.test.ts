import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import type { Stranger } from '../address/probe.ts';
import { BackendError, type BackingVolume } from '../backends/backend.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FakeSnapshots } from '../testing/fake-snapshots.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { NO_FREEZE } from '../testing/no-freeze.ts';
import { runController } from '../testing/run-controller.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { CopyExport } from './copy-export.ts';
import { NoInstantError } from './instant.ts';
import { SnapshotReconciler } from './reconciler.ts';
import { SnapshotRecords } from './records.ts';

const signal = new AbortController().signal;
const SOON = { requeueAfterMs: 3_000 };
/** What the operator has written. */
const ASSIGNED = { assignedNode: 'storage' };

async function harness({ volume = {}, spec = {} }: { volume?: object; spec?: object } = {}) {
  const kube = new FakeKube();
  const target = new FakeTarget();
  const snapshots = new FakeSnapshots();
  /** Of other pools than fast. */
  const others = new Map<string, FakeSnapshots>();
  const changed: string[] = [];
  const volumes: BackingVolume[] = [];
  const find = async (uid: string) => volumes.find((each) => each.uid === uid);
  const world = { hasBackend: true, stranger: undefined as Stranger | undefined, freeze: NO_FREEZE };
  kube.put({ kind: 'AoEPool', metadata: { name: 'fast' }, spec: { backend: 'lvm-thin' } } as never);
  const finalizers = [VOLUME_FINALIZER];
  kube.put({
    kind: 'AoEVolume',
    metadata: { name: 'v1', uid: 'v-uid', finalizers },
    spec: { pool: 'fast', nodeName: 'storage', capacity: '1Mi' },
    status: { capacity: '1Mi' },
    ...volume,
  } as never);
  kube.put({
    kind: 'AoESnapshot',
    metadata: { name: 's1', uid: 's-uid', generation: 1 },
    spec: { volumeName: 'v1', ...spec },
    status: ASSIGNED,
  } as never);
  await target.export({
    uid: 'v-uid',
    shelf: 7,
    slot: 3,
    path: '/x',
    serial: 'S',
    readOnly: false,
    bytes: 0,
    macs: [],
    writesNeedLock: false,
  });
  /** An agent that has just been started. */
  const agent = (node = 'storage') => {
    const log = pino({ level: 'silent' });
    const reconciler = new SnapshotReconciler({
      node,
      records: new SnapshotRecords({ node, kube, snapshots: kube.store<AoESnapshot>('AoESnapshot'), log }),
      volumes: kube.store<AoEVolume>('AoEVolume'),
      pools: kube.store<AoEPool>('AoEPool'),
      copyExport: new CopyExport({
        node,
        target: {
          connected: true,
          problem: '',
          state: (uid) => target.volumes.get(uid),
          supports: (feature) => target.features.includes(feature),
          export: (volume) => target.export(volume),
          unexport: (uid) => target.unexport(uid),
        },
        probe: async () => world.stranger,
      }),
      copyOut: { copier: new FakeCopier(), bytesPerSecond: 0 },
      freeze: world.freeze,
      backendOf: ({ metadata: { name } }) => (world.hasBackend ? { snapshots: others.get(name) ?? snapshots, find } : {}) as never,
      signal,
      target: {
        connected: true,
        problem: '',
        state: (uid) => target.volumes.get(uid),
        supports: () => true,
        hold: (uid) => target.hold(uid),
        release: (uid, hold) => target.release(uid, hold),
      },
      log,
    });
    reconciler.subscribe((event) => 'pool' in event && changed.push(event.pool));
    return reconciler;
  };
  const stored = () => kube.read<AoESnapshot & KubeObject>({ kind: 'AoESnapshot' }, 's1');
  const taken = () => stored()?.status?.conditions?.find(({ type }) => type === 'Taken');
  const reconcile = (reconciler = agent()) => reconciler.reconcile('s1', signal);
  const remove = () => {
    const now = stored() as AoESnapshot & { kind: string };
    kube.put({ ...now, metadata: { ...now.metadata, deletionTimestamp: '2026-11-28T08:00:00Z' } });
  };
  const change = (changes: object) => kube.put({ ...(stored() as AoESnapshot & { kind: string }), ...changes });
  return { kube, target, snapshots, others, volumes, world, changed, agent, stored, taken, reconcile, remove, change };
}

test('a snapshot is taken once, while its volume is held, and is found again after a restart', async () => {
  const it = await harness();
  it.snapshots.meanwhile = () => expect(it.target.holds.has('v-uid')).toBe(true);
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 600_000 });
  const { createdAt, ...status } = it.stored()?.status ?? {};
  expect(status).toMatchObject({ nodeName: 'storage', pool: 'fast', volumeUID: 'v-uid', capacity: '1Mi' });
  expect(it.taken()).toMatchObject({ status: 'True', reason: 'Taken', message: `fake/snap-s-uid has the data of ${createdAt}` });
  expect(it.stored()?.metadata.finalizers).toStrictEqual([SNAPSHOT_FINALIZER]);
  expect(it.changed).toStrictEqual(['fast']);
  const { length } = it.target.calls;
  await it.reconcile();
  expect(it.target.calls).toHaveLength(length);
  expect(it.stored()?.status?.createdAt).toBe(createdAt);
});

test('agents of other nodes leave it alone, and so does the agent of a volume with another UID', async () => {
  const it = await harness({ spec: { volumeUID: 'other' } });
  expect(await it.reconcile()).toBeUndefined();
  expect(await it.reconcile(it.agent('elsewhere'))).toBeUndefined();
  expect(it.kube.written).toHaveLength(0);
});

test('the agent of the volume takes a snapshot once the operator has assigned it to its node, and says nothing of it before', async () => {
  const it = await harness();
  for (const status of [undefined, { assignedNode: 'elsewhere' }]) {
    it.change({ status });
    expect(await it.reconcile()).toBeUndefined();
    expect(it.stored()?.status).toStrictEqual(status);
    expect(it.snapshots.whole.size).toBe(0);
  }
  it.change({ status: ASSIGNED });
  await it.reconcile();
  expect(it.stored()?.status).toMatchObject({ nodeName: 'storage', volumeUID: 'v-uid' });
});

test('a volume that is being moved has no snapshot before that has ended, and none is bound to its earlier node', async () => {
  const spec = { pool: 'fast', nodeName: 'storage', capacity: '1Mi' };
  const move = { id: '0123abcd', stage: 'Copying', nodeName: 'other', pool: 'fast' };
  const it = await harness({ volume: { spec: { ...spec, move } } });
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.stored()?.status).toStrictEqual(ASSIGNED);
  const fresh = await harness({ volume: { spec: { ...spec, moves: 1 } } });
  await fresh.reconcile();
  expect(fresh.stored()?.status, 'its agent has not opened the data at the new place').toStrictEqual(ASSIGNED);
  it.change({ status: { nodeName: 'storage', pool: 'fast', volumeUID: 'v-uid' } });
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'VolumeMoving' });
});

test('a snapshot of a volume that was moved to another node stays where it is, and is looked for there', async () => {
  const it = await harness();
  await it.reconcile();
  const { createdAt } = it.stored()?.status ?? {};
  it.kube.put({
    kind: 'AoEVolume',
    metadata: { name: 'v1', uid: 'v-uid', finalizers: [VOLUME_FINALIZER] },
    spec: { pool: 'other', nodeName: 'elsewhere', capacity: '1Mi', moves: 1 },
  } as never);
  await it.reconcile();
  await it.reconcile(it.agent('elsewhere'));
  expect(it.stored()?.status).toMatchObject({ nodeName: 'storage', pool: 'fast', createdAt });
  expect(it.taken()).toMatchObject({ status: 'True', reason: 'Taken' });
});

test('a volume with authenticated encryption has no snapshot before all of it was written', async () => {
  const luks = { uuid: 'u', state: 'Formatting' };
  const it = await harness({
    volume: {
      spec: { pool: 'fast', nodeName: 'storage', capacity: '1Mi', encryption: 'LUKS2Authenticated' },
      status: { capacity: '1Mi', luks },
    } as never,
  });
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'VolumeNotReady', message: expect.stringContaining('zeros') });
});

test('a volume that is not placed yet, or has no data, has no snapshot', async () => {
  const unplaced = await harness({ volume: { metadata: { name: 'v1', uid: 'v-uid' } } });
  expect(await unplaced.reconcile()).toBeUndefined();
  const empty = await harness({ volume: { status: {} } });
  expect(await empty.reconcile()).toBeUndefined();
  expect(empty.taken()).toMatchObject({ status: 'False', reason: 'VolumeNotReady' });
  expect(empty.stored()?.metadata.finalizers).toBeUndefined();
  const metadata = { name: 'v1', uid: 'v-uid', finalizers: [VOLUME_FINALIZER], deletionTimestamp: '2026-11-28T08:00:00Z' };
  const deleting = await harness({ volume: { metadata } });
  await deleting.reconcile();
  expect(deleting.taken()).toMatchObject({ status: 'False', reason: 'VolumeDeleting' });
});

test('a volume whose tail an earlier version has exported has no snapshot before that is data', async () => {
  const it = await harness({ volume: { status: { capacity: '14Mi' } } });
  const marked = { uid: 'v-uid', name: 'vg0/aoe-v-uid', bytes: 10 << 20, tail: 4 << 20 };
  it.volumes.push(marked);
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 5_000 });
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'VolumeNotReady', message: expect.stringContaining('earlier version') });
  expect(it.snapshots.whole.size).toBe(0);
  it.volumes[0] = { ...marked, bytes: 14 << 20 };
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'True' });
});

test('a hold that ended too early leaves no snapshot, and the next attempt succeeds', async () => {
  const it = await harness();
  it.snapshots.meanwhile = () => it.target.holds.clear();
  expect(await it.reconcile()).toStrictEqual(SOON);
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'NotHeld' });
  expect(it.stored()?.status?.createdAt).toBeUndefined();
  expect([it.snapshots.half.size, it.snapshots.whole.size]).toStrictEqual([0, 0]);
  it.snapshots.meanwhile = () => {};
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'True' });
});

test('a crash at any step leaves neither half a snapshot nor one that nobody removes', async () => {
  for (const step of ['make', 'instant'] as const) {
    const it = await harness();
    it.snapshots.crashAfter = step;
    await expect(it.reconcile()).rejects.toThrow('crash');
    expect(it.stored()?.metadata.finalizers).toStrictEqual([SNAPSHOT_FINALIZER]);
    it.snapshots.crashAfter = undefined;
    it.target.holds.clear();
    if (step === 'make') {
      await it.reconcile();
      expect(it.snapshots.half.size).toBe(0);
      expect(it.taken()).toMatchObject({ status: 'True' });
    }
    it.remove();
    await it.reconcile();
    expect([it.snapshots.half.size, it.snapshots.whole.size]).toStrictEqual([0, 0]);
    expect(it.stored(), 'without a finalizer it is gone').toBeUndefined();
  }
});

test('a snapshot stays and is found when its volume is gone; one that was not taken before is refused', async () => {
  const it = await harness();
  await it.reconcile();
  it.kube.remove({ kind: 'AoEVolume' }, 'v1');
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'True' });
  const late = await harness();
  late.snapshots.meanwhile = () => late.target.holds.clear();
  await late.reconcile();
  late.kube.remove({ kind: 'AoEVolume' }, 'v1');
  await late.reconcile();
  expect(late.taken()).toMatchObject({ status: 'False', reason: 'VolumeNotFound' });
});

test('a snapshot that is gone is never taken again', async () => {
  const it = await harness();
  await it.reconcile();
  it.snapshots.whole.clear();
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'SnapshotLost' });
  expect(it.stored()?.status?.capacity).toBe('1Mi');
});

test('deleted: the data is removed, or kept when it is to be retained, then the finalizer goes', async () => {
  for (const deletionPolicy of ['Delete', 'Retain'] as const) {
    const it = await harness({ spec: { deletionPolicy } });
    await it.reconcile();
    it.remove();
    it.snapshots.failure = new BackendError('BackingBusy', 'in use');
    if (deletionPolicy === 'Delete') {
      expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
      expect(it.taken()).toMatchObject({ reason: 'BackingBusy', message: 'deletion waits: in use' });
    }
    it.snapshots.failure = undefined;
    expect(await it.reconcile()).toBeUndefined();
    expect([it.snapshots.whole.size, it.snapshots.retained.size]).toStrictEqual([0, deletionPolicy === 'Retain' ? 1 : 0]);
    expect(it.stored(), 'without a finalizer it is gone').toBeUndefined();
  }
});

test('a pool without snapshots says so', async () => {
  const it = await harness();
  it.world.hasBackend = false;
  expect(await it.reconcile()).toBeUndefined();
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'SnapshotsUnsupported' });
  it.world.hasBackend = true;
  it.snapshots.obstacle = 'ext4';
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.taken()).toMatchObject({ reason: 'SnapshotsUnsupported', message: 'ext4' });
});

test('an AoESnapshot that comes back with another UID takes no other data under the old name', async () => {
  const it = await harness();
  await it.snapshots.take({ uid: 'old', name: 's1', volumeUID: 'v-uid' }, async (make) => {
    await make();
    return new Date();
  });
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 5_000 });
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'OrphanOfSameName' });
  expect([...it.snapshots.whole.keys()]).toStrictEqual(['old']);
  await it.snapshots.remove('old');
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'True' });
});

test('a snapshot whose file system was not frozen until the end is discarded, and tried again after a minute', async () => {
  const it = await harness({ spec: { freeze: true } });
  let isThawedEarly = true;
  it.world.freeze = {
    during: (instant) => async (make) => {
      const since = await instant(make);
      if (isThawedEarly) throw new NoInstantError('NotFrozen', 'node n1: the file system was not frozen throughout');
      return since;
    },
  };
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'NotFrozen' });
  expect(it.stored()?.status?.createdAt).toBeUndefined();
  expect(await it.snapshots.find('s-uid')).toBeUndefined();
  isThawedEarly = false;
  await it.reconcile();
  expect(it.taken()).toMatchObject({ status: 'True' });
});

test('snapshots that are removed from a pool that hangs do not keep another from being removed, and none is removed twice at once', async () => {
  const it = await harness();
  const agent = it.agent();
  await it.reconcile(agent);
  const hung = new FakeSnapshots();
  it.others.set('hung', hung);
  const pool = Promise.withResolvers<void>();
  hung.removing = pool.promise;
  it.kube.put({ kind: 'AoEPool', metadata: { name: 'hung' }, spec: { backend: 'lvm-thin' } } as never);
  const AT_ONCE = 4;
  const names = Array.from({ length: AT_ONCE }, (_, index) => `gone-${index}`);
  for (const name of names) {
    const uid = `uid-${name}`;
    hung.whole.set(uid, { uid, snapshot: name, name: `hung/${name}`, bytes: 1 << 20, createdAt: 'x' });
    const metadata = { name, uid, finalizers: [SNAPSHOT_FINALIZER], deletionTimestamp: '2026-11-28T08:00:00Z' };
    const status = { nodeName: 'storage', pool: 'hung', volumeUID: 'v-uid', capacity: '1Mi', createdAt: 'x' };
    it.kube.put({ kind: 'AoESnapshot', metadata, spec: { volumeName: 'v1' }, status } as never);
  }
  const stored = (name: string) => it.kube.read<AoESnapshot>({ kind: 'AoESnapshot' }, name);
  const controller = runController(agent, { concurrency: AT_ONCE, release: pool.resolve });
  agent.subscribe((event) => 'snapshot' in event && controller.enqueue(event.snapshot));
  for (const name of names) controller.enqueue(name);
  await waitUntil(() => hung.removals.length === AT_ONCE);
  it.remove();
  controller.enqueue('s1');
  await waitUntil(() => it.stored() === undefined);
  // Asked again.
  for (const name of names) await agent.reconcile(name, signal);
  expect([hung.removals.length, hung.whole.size]).toStrictEqual([AT_ONCE, AT_ONCE]);
  expect(names.map((name) => stored(name)?.metadata.finalizers)).toStrictEqual(names.map(() => [SNAPSHOT_FINALIZER]));
  pool.resolve();
  await waitUntil(() => names.every((name) => stored(name) === undefined));
  expect([hung.removals.length, hung.whole.size]).toStrictEqual([AT_ONCE, 0]);
  await agent.idle();
});

test('a removal that takes long and fails says why, is finished by the next agent, and is not that of another snapshot of its name', async () => {
  const it = await harness();
  const agent = it.agent();
  await it.reconcile(agent);
  it.remove();
  const pool = Promise.withResolvers<void>();
  it.snapshots.removing = pool.promise;
  expect(await it.reconcile(agent)).toBeUndefined();
  it.snapshots.failure = new BackendError('BackingBusy', 'in use');
  pool.resolve();
  await agent.idle();
  expect(await it.reconcile(agent)).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.taken()).toMatchObject({ reason: 'BackingBusy', message: 'deletion waits: in use' });
  it.snapshots.failure = undefined;
  const never = Promise.withResolvers<void>();
  it.snapshots.removing = never.promise;
  expect(await it.reconcile(agent)).toBeUndefined();
  const deleted = it.stored();
  // Somebody has removed the finalizer by hand, and has made and deleted another one.
  it.change({ metadata: { ...deleted?.metadata, uid: 'another' } });
  expect(await it.reconcile(agent)).toBeUndefined();
  expect(it.snapshots.removals).toStrictEqual(['s-uid', 's-uid', 'another']);
  it.snapshots.removing = undefined;
  await it.reconcile();
  expect([it.stored(), it.snapshots.removals.at(-1)]).toStrictEqual([undefined, 'another']);
  never.resolve();
  await agent.idle();
  expect(await it.reconcile(agent)).toBeUndefined();
});
