import { pino } from 'pino';
import type { AoEPool } from '../../api/pool.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import type { Stranger } from '../address/probe.ts';
import { TargetError } from '../target/api.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FakeSnapshots } from '../testing/fake-snapshots.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { NO_FREEZE } from '../testing/no-freeze.ts';
import { CopyExport } from './copy-export.ts';
import { SnapshotReconciler } from './reconciler.ts';
import { SnapshotRecords } from './records.ts';

const { signal } = new AbortController();
const UID = '11111111-2222-3333-4444-555555555555';
const ID = `snap-${UID}`;
const ADDRESS = { shelf: 9, slot: 3 };
const MAC = '02:00:00:00:05:01';
const COPY = { volume: 'w', node: 'other', macs: [MAC] };

/** The agent that has the snapshot, which the operator lets another node copy. */
function harness(status: object = { copies: [COPY], copyAddress: ADDRESS }) {
  const kube = new FakeKube();
  const target = new FakeTarget();
  const snapshots = new FakeSnapshots();
  const world = { stranger: undefined as Stranger | undefined, connected: true, probed: 0 };
  snapshots.whole.set(UID, { uid: UID, snapshot: 's', name: 'fake/s', bytes: 1 << 20, createdAt: '2026-11-28T08:00:00Z' });
  kube.put({ kind: 'AoEPool', metadata: { name: 'fast' }, spec: { backend: 'lvm-thin' } } as never);
  const taken = { nodeName: 'storage', pool: 'fast', volumeUID: 'v', capacity: '1Mi', createdAt: '2026-11-28T08:00:00Z' };
  const metadata = { name: 's', uid: UID, finalizers: [SNAPSHOT_FINALIZER] };
  kube.put({
    kind: 'AoESnapshot',
    metadata,
    spec: { volumeName: 'v', deletionPolicy: 'Delete' },
    status: { ...taken, ...status },
  } as never);
  const stored = () => kube.read<AoESnapshot & KubeObject & { kind: string }>({ kind: 'AoESnapshot' }, 's');
  /** What the operator says. */
  const operator = (change: object) => {
    const now = stored();
    if (now) kube.put({ ...now, status: { ...now.status, ...change } });
  };
  const agent = () => {
    const log = pino({ level: 'silent' });
    const link = {
      problem: 'it is away',
      state: (uid: string) => target.volumes.get(uid),
      supports: (feature: string) => target.features.includes(feature),
      export: (volume: Parameters<FakeTarget['export']>[0]) => target.export(volume),
      unexport: (uid: string) => target.unexport(uid),
      hold: (uid: string) => target.hold(uid),
      release: (uid: string, hold: number) => target.release(uid, hold),
      get connected() {
        return world.connected;
      },
    };
    const probe = async () => {
      world.probed++;
      return world.stranger;
    };
    return new SnapshotReconciler({
      node: 'storage',
      records: new SnapshotRecords({ node: 'storage', kube, snapshots: kube.store<AoESnapshot>('AoESnapshot'), log }),
      volumes: kube.store<AoEVolume>('AoEVolume'),
      pools: kube.store<AoEPool>('AoEPool'),
      copyExport: new CopyExport({ node: 'storage', target: link, probe }),
      copyOut: { copier: new FakeCopier(), bytesPerSecond: 0 },
      freeze: NO_FREEZE,
      signal,
      backendOf: () => ({ snapshots, find: async () => undefined }) as never,
      target: link,
      log,
    });
  };
  return {
    ...{ kube, target, snapshots, world, stored, operator },
    reconcile: () => agent().reconcile('s', signal),
    condition: () => stored()?.status?.conditions?.find(({ type }) => type === 'Exported'),
    remove: () => {
      const now = stored();
      if (now) kube.put({ ...now, metadata: { ...now.metadata, deletionTimestamp: '2026-11-28T09:00:00Z' } });
    },
  };
}

test('a snapshot that is copied is exported read-only, for copies only, to the addresses of the node that copies it', async () => {
  const { target, world, stored, reconcile, condition } = harness();
  await reconcile();
  expect(target.volumes.get(ID)?.volume).toStrictEqual({
    uid: ID,
    ...ADDRESS,
    path: `/dev/fake/snap-${UID}`,
    serial: '11111111222233334444',
    readOnly: true,
    bytes: 1 << 20,
    macs: [MAC],
    writesNeedLock: false,
    forCopies: true,
  });
  expect(stored()?.status?.copyServed).toStrictEqual(ADDRESS);
  expect(condition()).toMatchObject({
    status: 'True',
    reason: 'Exported',
    message: expect.stringMatching(/e9.3 .* other \(AoEVolume w\)/),
  });
  await reconcile();
  expect([world.probed, target.calls.filter((call) => call === 'export')]).toStrictEqual([1, ['export']]);
});

test('the address is claimed in the status before it is served', async () => {
  const { kube, target, reconcile } = harness();
  target.failing.set('export', new Error('crash') as never);
  await expect(reconcile()).rejects.toThrow('crash');
  expect(kube.read<AoESnapshot>({ kind: 'AoESnapshot' }, 's')?.status?.copyServed).toStrictEqual(ADDRESS);
});

test('an address that the operator takes back meanwhile is not served', async () => {
  const { kube, target, stored, operator, reconcile } = harness();
  const { apply } = kube;
  let once = true;
  Object.assign(kube, {
    apply: (...args: Parameters<typeof apply>) => {
      if (once) operator({ copyAddress: undefined, copies: undefined });
      once = false;
      return apply(...args);
    },
  });
  await reconcile();
  expect([target.volumes.size, stored()?.status?.copyServed]).toStrictEqual([0, undefined]);
});

test('another node that copies it is admitted, and one that is done is not any more', async () => {
  const { target, operator, reconcile } = harness();
  await reconcile();
  const second = { volume: 'x', node: 'third', macs: ['02:00:00:00:06:01'] };
  operator({ copies: [COPY, second] });
  await reconcile();
  expect(target.volumes.get(ID)?.volume.macs).toStrictEqual([MAC, ...second.macs]);
  operator({ copies: [second] });
  await reconcile();
  expect(target.volumes.get(ID)?.volume.macs).toStrictEqual(second.macs);
});

test('once nobody copies it, it is taken off the segment, and then the address is given back', async () => {
  const { target, snapshots, world, stored, operator, reconcile, condition } = harness();
  await reconcile();
  operator({ copies: undefined });
  world.connected = false;
  await reconcile();
  expect(stored()?.status?.copyServed, 'it may still be served').toStrictEqual(ADDRESS);
  world.connected = true;
  await reconcile();
  expect([target.volumes.size, snapshots.exposed.size]).toStrictEqual([0, 0]);
  expect([stored()?.status?.copyServed, condition()]).toStrictEqual([undefined, undefined]);
});

for (const [what, spoil, reason] of [
  ['another target answers at its address', ({ world }) => (world.stranger = { mac: MAC, interface: 'eth1' }), 'AddressConflict'],
  ['the target is too old', ({ target }) => (target.features = ['hold']), 'TargetTooOld'],
  ['the target is away', ({ world }) => (world.connected = false), 'TargetUnavailable'],
  ['the target refuses', ({ target }) => target.stop(), 'TargetUnavailable'],
  ['its disk hangs', ({ target }) => target.failing.set('export', new TargetError('waits', 'the target waits')), 'WaitsForDisk'],
] as [string, (parts: ReturnType<typeof harness>) => unknown, string][]) {
  test(`nothing is exported while ${what}`, async () => {
    const parts = harness();
    spoil(parts);
    await parts.reconcile();
    expect([parts.target.volumes.size, parts.condition()?.reason]).toStrictEqual([0, reason]);
  });
}

test('a snapshot is not exported for a copy on its own node, nor before the other node has said with which addresses it reads', async () => {
  for (const copy of [
    { volume: 'w', node: 'storage', macs: [MAC] },
    { volume: 'w', node: 'other' },
  ]) {
    const { target, reconcile } = harness({ copies: [copy], copyAddress: ADDRESS });
    await reconcile();
    expect(target.volumes.size).toBe(0);
  }
});

test('a deleted snapshot stays, and is served, until its copies are done', async () => {
  const { kube, target, snapshots, remove, operator, reconcile, stored } = harness();
  remove();
  await reconcile();
  const taken = stored()?.status?.conditions?.find(({ type }) => type === 'Taken');
  expect(taken).toMatchObject({ reason: 'Copied', message: expect.stringMatching(/^deletion waits: .*AoEVolume w on node other/) });
  expect([target.volumes.size, snapshots.whole.size]).toStrictEqual([1, 1]);
  operator({ copies: undefined });
  await reconcile();
  expect([target.volumes.size, snapshots.whole.size]).toStrictEqual([0, 0]);
  expect(kube.read<AoESnapshot>({ kind: 'AoESnapshot' }, 's')?.metadata.finalizers ?? []).toStrictEqual([]);
});
