import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { hungPool } from '../testing/hung-file-system.ts';
import { Orphans } from './orphans.ts';
import { otherFilePools, PoolReconciler } from './reconciler.ts';

const signal = new AbortController().signal;

function harness({ backendOf }: { backendOf?: (pool: AoEPool) => Backend } = {}) {
  const kube = new FakeKube();
  const backend = new FakeBackend();
  const world = { now: 0 };
  kube.put({ kind: 'AoEPool', metadata: { name: 'fast' }, spec: { backend: 'file', nodeSelector: { disk: 'ssd' } } } as never);
  kube.put({ kind: 'Node', metadata: { name: 'storage', labels: { disk: 'ssd' } } });
  const pools = new PoolReconciler({
    node: 'storage',
    kube,
    pools: kube.store('AoEPool'),
    self: kube.store('Node'),
    // As the agent's informer: the AoEVolumes of this node alone.
    volumes: {
      get: (name) => kube.store<AoEVolume>('AoEVolume').get(name),
      list: () =>
        kube
          .store<AoEVolume>('AoEVolume')
          .list()
          .filter(({ spec }) => spec.nodeName === 'storage'),
    },
    snapshots: kube.store('AoESnapshot'),
    backendOf: backendOf ?? (() => backend),
    orphans: new Orphans(() => world.now),
    metrics: { note: () => {} },
    log: pino({ level: 'silent' }),
  });
  const entry = (name = 'fast') => kube.store<AoEPool>('AoEPool').get(name)?.status?.nodes?.[0];
  return { kube, backend, world, entry, reconcile: (name = 'fast') => pools.reconcile(name, signal) };
}

test('a pool on this node is measured, and written only when it changed', async () => {
  const it = harness();
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
  expect(it.entry()).toStrictEqual({
    name: 'storage',
    ready: true,
    size: '100Mi',
    free: '100Mi',
    granularity: '1Mi',
    volumes: 0,
    snapshots: { possible: true },
  });
  await it.reconcile();
  expect(it.kube.written).toHaveLength(1);
  expect(it.kube.written[0]?.manager).toBe('aoe-csi-agent-storage');
});

test('a pool that is only full says so, and which snapshots could be removed', async () => {
  const it = harness();
  it.backend.full = 'its metadata is nearly full';
  await it.reconcile();
  expect(it.entry()).toMatchObject({ ready: false, full: true, message: 'its metadata is nearly full', snapshots: { possible: true } });
  it.backend.full = undefined;
  await it.reconcile();
  expect(it.entry()).not.toHaveProperty('full');
});

test('what was said of snapshots stays while a disk does not answer for a while', async () => {
  const it = harness();
  const { snapshots } = it.backend;
  const problem = snapshots.problem.bind(snapshots);
  snapshots.problem = () => Promise.reject(new BackendError('PoolNotReady', 'the disk does not answer'));
  await it.reconcile();
  expect(it.entry(), 'not known').not.toHaveProperty('snapshots');
  snapshots.problem = problem;
  await it.reconcile();
  expect(it.entry()?.snapshots).toStrictEqual({ possible: true });
  snapshots.problem = () => Promise.reject(new BackendError('PoolNotReady', 'the disk does not answer'));
  await it.reconcile();
  expect(it.entry()?.snapshots).toStrictEqual({ possible: true });
});

test('a file pool whose disk hangs is not ready, and says why; the next pool is measured', async () => {
  const { backend, directory, disk } = await hungPool('files', 50);
  const fast = new FakeBackend();
  const it = harness({ backendOf: ({ metadata }) => (metadata.name === 'files' ? backend : fast) });
  it.kube.put({ kind: 'AoEPool', metadata: { name: 'files' }, spec: { backend: 'file', directory } } as never);
  expect(await it.reconcile('files')).toStrictEqual({ requeueAfterMs: 60_000 });
  const message = expect.stringContaining(`directory ${directory}: reading ${directory}/.aoe-pool, begun at`);
  expect(it.entry('files')).toStrictEqual({ name: 'storage', ready: false, message });
  await it.reconcile();
  expect(it.entry()?.ready).toBe(true);
  disk.release();
  for (let tries = 0; tries < 100 && it.entry('files')?.ready === false; tries++) {
    await setTimeout(50);
    await it.reconcile('files');
  }
  expect(it.entry('files')).toMatchObject({ ready: true });
});

test('file pools beside one are those on this node', () => {
  const pool = (name: string, spec: object): AoEPool => ({ metadata: { name }, spec }) as never;
  const file = (name: string, nodeSelector?: object) => pool(name, { backend: 'file', directory: `/${name}`, nodeSelector });
  const pools = [file('a'), file('b'), file('c', { disk: 'hdd' }), file('d', { disk: 'ssd' }), pool('e', { backend: 'lvm' })];
  const node = { metadata: { name: 'storage', labels: { disk: 'ssd' } } };
  expect(otherFilePools('a', pools, node)).toStrictEqual([
    { pool: 'b', directory: '/b' },
    { pool: 'd', directory: '/d' },
  ]);
  expect(otherFilePools('a', pools, undefined)).toStrictEqual([]);
});

test('an orphan is counted after a second look, by its name in the backend, and left alone', async () => {
  const it = harness();
  await it.backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 });
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 10_000 });
  expect(it.entry()?.orphans).toBeUndefined();
  it.world.now = 10_000;
  await it.reconcile();
  expect(it.entry()?.orphans).toStrictEqual(['fake/u-1 (was pvc-1)']);
  expect(it.entry()?.orphaned).toBe('1Mi');
  expect(it.backend.volumes.has('u-1')).toBe(true);
});

test('space that an interrupted growth has taken is not promised, whether its AoEVolume gave back the reservation or is gone', async () => {
  const it = harness();
  const status = { capacity: '10Mi', reserved: '10Mi' };
  it.kube.put({ kind: 'AoEVolume', metadata: { name: 'pvc-1', uid: 'u-1' }, spec: { nodeName: 'storage' }, status } as never);
  it.backend.volumes.set('u-1', { uid: 'u-1', name: 'fake/u-1', bytes: 10 << 20, extended: 30 << 20 });
  await it.reconcile();
  expect(it.entry()?.size).toBe('80Mi');
  it.kube.put({
    kind: 'AoEVolume',
    metadata: { name: 'pvc-1', uid: 'u-1' },
    spec: { nodeName: 'storage' },
    status: { ...status, reserved: '40Mi' },
  } as never);
  await it.reconcile();
  expect(it.entry()?.size, 'while it is reserved').toBe('100Mi');
  it.kube.remove({ kind: 'AoEVolume' }, 'pvc-1');
  await it.reconcile();
  it.world.now = 10_000;
  await it.reconcile();
  expect([it.entry()?.size, it.entry()?.orphaned]).toStrictEqual(['100Mi', '30Mi']);
});

test('what tails take is told, and how many volumes of this node have none', async () => {
  const it = harness();
  it.backend.tail = 4 << 20;
  for (const [uid, tail] of [
    ['u-1', true],
    ['u-2', undefined],
    ['u-3', undefined],
    ['u-4', true],
  ] as const)
    await it.backend.create({ uid, name: uid, bytes: 1 << 20, ...(tail ? { tail } : {}) });
  for (const uid of ['u-1', 'u-2'])
    it.kube.put({ kind: 'AoEVolume', metadata: { name: uid, uid }, spec: { nodeName: 'storage', pool: 'fast' } } as never);
  await it.reconcile();
  it.world.now = 10_000;
  await it.reconcile();
  expect(it.entry()).toMatchObject({ tail: '4Mi', withoutTail: 1, free: '88Mi', orphaned: '6Mi' });
});

test('a pool that no longer selects this node loses its entry', async () => {
  const it = harness();
  await it.reconcile();
  it.kube.put({ kind: 'Node', metadata: { name: 'storage', labels: {} } });
  await it.reconcile();
  expect(it.entry()).toBeUndefined();
});

test('data of an AoEVolume that is placed on another node is no orphan: it is reported apart', async () => {
  const it = harness();
  it.kube.put({ kind: 'AoEVolume', metadata: { name: 'pvc-1', uid: 'u-1' }, spec: { nodeName: 'old', pool: 'fast' } } as never);
  await it.backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 });
  await it.backend.create({ uid: 'u-2', name: 'pvc-2', bytes: 2 << 20 });
  await it.backend.noteMoves('u-1', 3);
  await it.reconcile();
  it.world.now = 10_000;
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
  expect(it.entry()).toMatchObject({
    orphans: ['fake/u-2 (was pvc-2)'],
    orphaned: '2Mi',
    displaced: ['fake/u-1 belongs to AoEVolume pvc-1, which is placed on node old'],
    displacedBytes: '1Mi',
    displacedVolumes: [{ uid: 'u-1', volume: 'pvc-1', bytes: 1 << 20, moves: 3 }],
  });
  const backing = it.backend.volumes.get('u-1');
  if (backing) it.backend.volumes.set('u-1', { ...backing, copy: '0123abcd/aa' });
  await it.reconcile();
  expect(it.entry()?.displacedVolumes, 'half a copy is said to be one').toMatchObject([{ uid: 'u-1', copy: '0123abcd' }]);
});

test('while the API server does not list the AoEVolumes nothing is newly called an orphan, and what was found stays', async () => {
  const it = harness();
  await it.backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 });
  await it.reconcile();
  it.world.now = 10_000;
  const unavailable = new KubeError(503, 'Unavailable', 'no API server');
  it.kube.failNext('list', unavailable);
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 10_000 });
  expect(it.entry()).toStrictEqual({
    name: 'storage',
    ready: true,
    size: '100Mi',
    free: '99Mi',
    granularity: '1Mi',
    volumes: 1,
    snapshots: { possible: true },
  });
  await it.reconcile();
  expect(it.entry()?.orphaned).toBe('1Mi');
  it.kube.failNext('list', unavailable);
  await it.reconcile();
  expect(it.entry()?.orphaned).toBe('1Mi');
});

test('the API server is asked for owners only when there are candidates', async () => {
  const it = harness();
  it.kube.failNext('list', new Error('not to be asked'));
  await it.reconcile();
  expect(it.entry()?.ready).toBe(true);
  await expect(it.kube.list({ kind: 'AoEVolume' })).rejects.toThrow('not to be asked');
});
