import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { createEmpty } from '../backends/create-empty.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FakeLvm } from '../testing/fake-lvm.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { linearBackend } from '../testing/lvm-backends.ts';
import { NO_FREEZE } from '../testing/no-freeze.ts';
import { SnapshotReconciler } from './reconciler.ts';
import { SnapshotRecords } from './records.ts';

const { signal } = new AbortController();
const MiB = 1 << 20;
const COW = '/dev/vg0/aoe-snap-s-uid.cow';

async function harness({ spec = {} }: { spec?: object } = {}) {
  const kube = new FakeKube();
  const target = new FakeTarget();
  const lvm = new FakeLvm();
  const copier = new FakeCopier(new Map([['/dev/vg0/aoe-snap-s-uid', [9, 9]]]), () => [1, 2]);
  const changed: object[] = [];
  kube.put({ kind: 'AoEPool', metadata: { name: 'p1' }, spec: { backend: 'lvm' } } as never);
  kube.put({
    kind: 'AoEVolume',
    metadata: { name: 'v1', uid: 'v-uid', finalizers: [VOLUME_FINALIZER] },
    spec: { pool: 'p1', nodeName: 'storage', capacity: '16Mi' },
    status: { capacity: '16Mi' },
  } as never);
  kube.put({
    kind: 'AoESnapshot',
    metadata: { name: 's1', uid: 's-uid', generation: 1 },
    spec: { volumeName: 'v1', ...spec },
    status: { assignedNode: 'storage' },
  } as never);
  await createEmpty(linearBackend(lvm), { uid: 'v-uid', name: 'v1', bytes: 16 * MiB }, signal);
  /** An agent that has just been started. */
  const agent = () => {
    const log = pino({ level: 'silent' });
    const backend = linearBackend(lvm);
    const work = new SnapshotReconciler({
      node: 'storage',
      records: new SnapshotRecords({ node: 'storage', kube, snapshots: kube.store<AoESnapshot>('AoESnapshot'), log }),
      volumes: kube.store<AoEVolume>('AoEVolume'),
      pools: kube.store<AoEPool>('AoEPool'),
      copyExport: { reconcile: async () => ({ report: { served: undefined, exported: undefined } }) },
      copyOut: { copier, bytesPerSecond: 0 },
      freeze: NO_FREEZE,
      signal,
      backendOf: () => backend,
      target: {
        connected: true,
        problem: '',
        state: () => undefined,
        supports: () => true,
        hold: (uid) => target.hold(uid),
        release: (uid, hold) => target.release(uid, hold),
      },
      log,
    });
    work.subscribe((change) => changed.push(change));
    return work;
  };
  const stored = () => kube.read<AoESnapshot & KubeObject>({ kind: 'AoESnapshot' }, 's1');
  const taken = () => stored()?.status?.conditions?.find(({ type }) => type === 'Taken');
  const remove = (policy = 'Delete') => {
    const snapshot = stored() as AoESnapshot;
    const metadata = { ...snapshot.metadata, deletionTimestamp: '2026-11-28T09:00:00Z' };
    kube.put({ ...snapshot, kind: 'AoESnapshot', metadata, spec: { ...snapshot.spec, deletionPolicy: policy } } as never);
  };
  const ours = () => [...lvm.volumes.keys()].filter((name) => name.startsWith('aoe-snap-')).sort();
  /** The only job of the copier. */
  const job = () => {
    expect(copier.jobs.size).toBeLessThanOrEqual(1);
    return [...copier.jobs.values()][0]?.job;
  };
  return { kube, lvm, copier, changed, agent, stored, taken, remove, ours, job };
}

test('a snapshot of a thick volume has its instant at once, and is taken when its data is copied, whatever is restarted meanwhile', async () => {
  const it = await harness();
  expect(await it.agent().reconcile('s1', signal)).toStrictEqual({ requeueAfterMs: 2_000 });
  const { createdAt } = it.stored()?.status ?? {};
  expect(createdAt).toEqual(expect.any(String));
  expect(it.stored()?.status?.capacity).toBe('16Mi');
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'Copying', message: /0 % copied of 16777216 bytes/ });
  expect(it.job()).toMatchObject({ id: `s-uid.out-${Date.parse(createdAt ?? '')}` });
  expect(it.job()).toMatchObject({ source: { path: COW }, destination: { zeroed: false }, bytes: 16 * MiB });
  for (let round = 0; round < 3; round++) {
    it.copier.advance();
    await it.agent().reconcile('s1', signal);
    expect(it.taken()).toMatchObject({ reason: 'Copying', message: [/50 % copied/, /0 % compared/, /50 % compared/][round] });
  }
  it.copier.advance();
  await it.agent().reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'True', reason: 'Taken' });
  expect(it.stored()?.status?.createdAt).toBe(createdAt);
  expect([it.ours(), it.copier.jobs.size]).toStrictEqual([['aoe-snap-s-uid'], 0]);
  const change = { pool: 'p1', volume: 'v1' };
  expect(it.changed, 'the volume may grow now').toStrictEqual([change, change]);
});

test('a copier that is away, fails, or has the source still open is waited for', async () => {
  const it = await harness();
  const agent = it.agent();
  it.copier.up = false;
  expect(await agent.reconcile('s1', signal)).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.taken()).toMatchObject({ reason: 'Copying', message: /no copier answers/ });
  it.copier.up = true;
  await agent.reconcile('s1', signal);
  it.copier.fail(it.job()?.id ?? '', 'the disk is broken');
  await agent.reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ reason: 'CopyFailed', message: /the disk is broken/ });
  it.copier.fail(it.job()?.id ?? '', 'the disk is broken', new Date(0));
  await agent.reconcile('s1', signal);
  for (let round = 0; round < 4; round++) it.copier.advance();
  it.lvm.open.add('aoe-snap-s-uid.cow');
  await agent.reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'Copying' });
  it.lvm.open.clear();
  await agent.reconcile('s1', signal);
  expect([it.taken()?.status, it.ours()]).toStrictEqual(['True', ['aoe-snap-s-uid']]);
});

test('one that is damaged before it was copied is lost, says so, and is not taken again', async () => {
  const it = await harness();
  await it.agent().reconcile('s1', signal);
  Object.assign(it.lvm.volumes.get('aoe-snap-s-uid.cow') ?? {}, { isInvalid: true });
  await it.agent().reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'SnapshotLost', message: /became full/ });
  await it.agent().reconcile('s1', signal);
  expect([it.taken()?.reason, it.ours()]).toStrictEqual(['SnapshotLost', []]);
});

test('one that is damaged while it is copied is lost as soon as its source cannot be read, or before it counts as whole', async () => {
  for (const isRead of [false, true]) {
    const it = await harness();
    const agent = it.agent();
    await agent.reconcile('s1', signal);
    Object.assign(it.lvm.volumes.get('aoe-snap-s-uid.cow') ?? {}, { isInvalid: true });
    if (isRead) for (let round = 0; round < 4; round++) it.copier.advance();
    else it.copier.fail(it.job()?.id ?? '', 'Input/output error');
    await agent.reconcile('s1', signal);
    expect(it.taken()).toMatchObject({ status: 'False', reason: 'SnapshotLost', message: /became full/ });
    expect(it.ours()).toStrictEqual([]);
  }
});

test('a copy that waits for others, or goes on, does not read the volume group each time', async () => {
  const it = await harness();
  const agent = it.agent();
  await agent.reconcile('s1', signal);
  it.lvm.calls.length = 0;
  for (let round = 0; round < 5; round++) expect(await agent.reconcile('s1', signal)).toStrictEqual({ requeueAfterMs: 10_000 });
  for (let round = 0; round < 3; round++) {
    it.copier.advance();
    expect(await agent.reconcile('s1', signal)).toStrictEqual({ requeueAfterMs: 2_000 });
  }
  expect(it.lvm.calls).toStrictEqual([]);
  it.copier.advance();
  await agent.reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'True' });
});

test('what was copied of one that is lost before its instant was reported does not count for the one that is taken then', async () => {
  const it = await harness();
  const before = it.stored() as AoESnapshot;
  await it.agent().reconcile('s1', signal);
  const first = it.job()?.id;
  for (let round = 0; round < 4; round++) it.copier.advance();
  // The report never reached the API server, and both logical volumes are lost.
  it.kube.put({ ...before, kind: 'AoESnapshot' } as never);
  for (const name of it.ours()) it.lvm.volumes.delete(name);
  // The next instant is another millisecond.
  const now = Date.now();
  while (Date.now() === now);
  it.copier.disks.set('/dev/vg0/aoe-snap-s-uid', [8, 8]);
  await it.agent().reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'False', reason: 'Copying', message: /0 % copied/ });
  expect(it.job()?.id).not.toBe(first);
  for (let round = 0; round < 4; round++) it.copier.advance();
  await it.agent().reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ status: 'True' });
  expect(it.copier.disks.get('/dev/vg0/aoe-snap-s-uid')).toStrictEqual([1, 2]);
});

test('when the volume group has another name, the copy begins again', async () => {
  const it = await harness();
  await it.agent().reconcile('s1', signal);
  it.copier.advance();
  const job = it.job();
  if (job) job.source = { kind: 'local', path: '/dev/earlier/aoe-snap-s-uid.cow' };
  it.copier.fail(job?.id ?? '', 'there is no such device', new Date(0));
  await it.agent().reconcile('s1', signal);
  expect(it.taken()).toMatchObject({ reason: 'Copying', message: /0 % copied of 16777216 bytes; until/ });
  expect(it.job()?.source).toStrictEqual({ kind: 'local', path: COW });
});

test('one that is deleted while it is copied leaves neither job nor logical volume', async () => {
  const it = await harness();
  await it.agent().reconcile('s1', signal);
  it.remove();
  await it.agent().reconcile('s1', signal);
  expect([it.stored()?.metadata.finalizers ?? [], it.copier.jobs.size, it.ours()]).toStrictEqual([[], 0, []]);
});

test('one that is deleted while a disk of its copy hangs waits for that, and says so', async () => {
  const it = await harness();
  await it.agent().reconcile('s1', signal);
  const { id = '' } = it.job() ?? {};
  const before = it.ours();
  it.copier.hanging.add(id);
  it.remove();
  await it.agent().reconcile('s1', signal);
  const message = `deletion waits: the copier waits: job ${id} does not end: the destination hangs`;
  expect(it.taken()).toMatchObject({ reason: 'BackingBusy', message });
  expect([it.ours(), it.copier.jobs.size]).toStrictEqual([before, 1]);
  it.copier.hanging.clear();
  await it.agent().reconcile('s1', signal);
  expect([it.stored()?.metadata.finalizers ?? [], it.copier.jobs.size, it.ours()]).toStrictEqual([[], 0, []]);
});

test('one that is to be kept is made whole before it is released', async () => {
  const it = await harness();
  await it.agent().reconcile('s1', signal);
  it.remove('Retain');
  expect(await it.agent().reconcile('s1', signal)).toStrictEqual({ requeueAfterMs: 10_000 });
  expect(it.stored()?.metadata.finalizers).toStrictEqual([SNAPSHOT_FINALIZER]);
  for (let round = 0; round < 4; round++) it.copier.advance();
  await it.agent().reconcile('s1', signal);
  expect([it.stored()?.metadata.finalizers ?? [], it.ours()]).toStrictEqual([[], ['aoe-snap-s-uid']]);
  expect(it.lvm.volumes.get('aoe-snap-s-uid')?.tags).toContain('aoe.dev/retained');
});
