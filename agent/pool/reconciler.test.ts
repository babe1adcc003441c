import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { Orphans } from './orphans.ts';
import { PoolReconciler } from './reconciler.ts';

const signal = new AbortController().signal;

function harness() {
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
    volumes: kube.store('AoEVolume'),
    backendOf: () => backend,
    orphans: new Orphans(() => world.now),
    metrics: { note: () => {} },
    log: pino({ level: 'silent' }),
  });
  const entry = () => kube.store<AoEPool>('AoEPool').get('fast')?.status?.nodes?.[0];
  return { kube, backend, world, entry, reconcile: () => pools.reconcile('fast', signal) };
}

test('a pool on this node is measured, and written only when it changed', async () => {
  const it = harness();
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
  expect(it.entry()).toStrictEqual({ name: 'storage', ready: true, size: '100Mi', free: '100Mi', granularity: '1Mi', volumes: 0 });
  await it.reconcile();
  expect(it.kube.written).toHaveLength(1);
  expect(it.kube.written[0]?.manager).toBe('aoe-csi-agent-storage');
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

test('a pool that no longer selects this node loses its entry', async () => {
  const it = harness();
  await it.reconcile();
  it.kube.put({ kind: 'Node', metadata: { name: 'storage', labels: {} } });
  await it.reconcile();
  expect(it.entry()).toBeUndefined();
});
