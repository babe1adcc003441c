import { pino } from 'pino';
import type { Abandoned } from '../../api/pool.ts';
import { type AoEVolumeSpec, VOLUME_FINALIZER } from '../../api/volume.ts';
import { TargetError } from './api.ts';
import { OrphanedExports, PATIENCE_MS } from './orphaned-exports.ts';

const { signal } = new AbortController();
type Named = { uid: string; name?: string; spec?: Partial<AoEVolumeSpec>; finalizers?: string[] };
const object = ({ uid, name = uid, spec = { nodeName: 'here' }, finalizers = [VOLUME_FINALIZER] }: Named) => ({
  metadata: { name, uid, finalizers },
  spec,
});
const address = { shelf: 1, slot: 1 };
const snapshotsOf = (uids: string[] = []) => uids.map((uid) => ({ metadata: { name: uid, uid }, status: { nodeName: 'here' } }));

interface World {
  /** UIDs, all at address e1.1. */
  served: string[];
  /** What the watch shows. */
  watched?: string[];
  /** What the API server has. */
  existing?: Named[];
  /** UIDs of AoESnapshots of this node: what the watch shows, and what the API server has. */
  snapshots?: { watched?: string[]; existing?: string[] };
  abandoned?: Abandoned[];
}

function world({ served, watched = [], existing = [], snapshots = {}, abandoned = [] }: World) {
  const clock = { ms: 0 };
  const target = {
    connected: true,
    states: () => served.map((uid) => ({ volume: { uid, ...address, ...(uid.startsWith('snap-') ? { forCopies: true } : {}) } })),
    unexport: async (uid: string) => {
      served.splice(served.indexOf(uid), 1);
    },
  };
  const lists = { count: 0 };
  const kube = {
    list: async ({ kind }: { kind: string }) => {
      lists.count++;
      return { items: kind === 'AoESnapshot' ? snapshotsOf(snapshots.existing) : existing.map(object), resourceVersion: '1' };
    },
  };
  const it = new OrphanedExports({
    node: 'here',
    kube: kube as never,
    snapshots: { list: () => snapshotsOf(snapshots.watched) as never },
    volumes: { list: () => watched.map((uid) => object({ uid })) as never },
    pools: { list: () => [{ metadata: { name: 'p' } }, { metadata: { name: 'q' }, status: { abandoned } }] as never },
    target: target as never,
    log: pino({ level: 'silent' }),
    now: () => clock.ms,
  });
  return { reconcile: () => it.reconcile(signal), target, served, watched, existing, lists, clock };
}

const mustNotServe: [string, Partial<World>][] = [
  ['is placed on another node', { existing: [{ uid: 'u-1', spec: { nodeName: 'there' } }] }],
  ['was given up and deleted', { abandoned: [{ uid: 'u-1', volume: 'v', node: 'here' }] }],
  ['is gone, and its address belongs to a volume of another node', { existing: [{ uid: 'u-2', spec: { nodeName: 'there', address } }] }],
];
for (const [what, cluster] of mustNotServe) {
  test(`a served volume that ${what} is taken off the segment at the first check`, async () => {
    const { reconcile, served } = world({ served: ['u-0', 'u-1'], watched: ['u-0'], ...cluster });
    await reconcile();
    expect(served).toStrictEqual(['u-0']);
  });
}

test('an export whose disk hangs keeps no other one on the segment', async () => {
  const { reconcile, served, target } = world({
    served: ['u-1', 'u-2'],
    existing: ['u-1', 'u-2'].map((uid) => ({ uid, spec: { nodeName: 'there' } })),
  });
  const hung = Promise.withResolvers<void>();
  const unexport = target.unexport;
  target.unexport = (uid) => (uid === 'u-1' ? hung.promise : unexport(uid));
  const running = reconcile();
  await new Promise(setImmediate);
  expect(served).toStrictEqual(['u-1']);
  hung.reject(new TargetError('waits', 'the target waits for disk /dev/x'));
  await expect(running).rejects.toMatchObject({ reason: 'waits' });
});

const absent: [string, Partial<World>][] = [
  ['the API server has no AoEVolume at all', {}],
  ['one of the same pool was given up', { abandoned: [{ uid: 'u-9', volume: 'v', node: 'here' }] }],
  ['the same UID was given up on another node', { abandoned: [{ uid: 'u-1', volume: 'v', node: 'there' }] }],
  ['its address belongs to a volume of this node', { existing: [{ uid: 'u-2', spec: { nodeName: 'here', address } }] }],
  ['another AoEVolume asks for its address', { existing: [{ uid: 'u-2', spec: { nodeName: 'there', address }, finalizers: [] }] }],
  [
    'volumes of other nodes have other addresses',
    { existing: [{ uid: 'u-2', spec: { nodeName: 'there', address: { shelf: 1, slot: 2 } } }] },
  ],
  ['an AoEVolume for an external target names its address', { existing: [{ uid: 'u-2', spec: { external: address } }] }],
];
for (const [what, cluster] of absent) {
  test(`a served volume whose AoEVolume is absent stays for a while, when ${what}`, async () => {
    const { reconcile, served, clock } = world({ served: ['u-1'], ...cluster });
    for (const ms of [0, 1, PATIENCE_MS - 1]) {
      clock.ms = ms;
      await reconcile();
      expect(served).toStrictEqual(['u-1']);
    }
    clock.ms = PATIENCE_MS;
    expect(await reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
    expect(served).toStrictEqual([]);
  });
}

test('a volume whose AoEVolume the API server has stays, whatever the watch shows', async () => {
  const { reconcile, served, clock } = world({ served: ['u-1', 'u-2'], existing: [{ uid: 'u-1' }, { uid: 'u-2', spec: {} }] });
  await reconcile();
  clock.ms = PATIENCE_MS;
  await reconcile();
  expect(served).toStrictEqual(['u-1', 'u-2']);
});

test('patience begins again when the AoEVolume was seen meanwhile', async () => {
  const { reconcile, served, existing, clock } = world({ served: ['u-1'] });
  await reconcile();
  existing.push({ uid: 'u-1' });
  clock.ms = PATIENCE_MS / 2;
  await reconcile();
  existing.pop();
  clock.ms = PATIENCE_MS;
  await reconcile();
  expect(served).toStrictEqual(['u-1']);
});

test('nothing is asked while all that is served belongs to this node', async () => {
  const { reconcile, lists } = world({ served: ['u-1'], watched: ['u-1'] });
  await reconcile();
  expect(lists.count).toBe(0);
});

test('a snapshot that is served for copies stays as long as there is its AoESnapshot, and no longer', async () => {
  const snapshots = { watched: ['s-1'], existing: ['s-1', 's-2'] };
  const { reconcile, served, clock } = world({ served: ['snap-s-1', 'snap-s-2', 'snap-s-3'], snapshots });
  await reconcile();
  clock.ms = PATIENCE_MS;
  await reconcile();
  expect(served).toStrictEqual(['snap-s-1', 'snap-s-2']);
});

test('nothing is decided while the target is away', async () => {
  const { reconcile, served, target } = world({ served: ['u-1'], existing: [{ uid: 'u-1', spec: { nodeName: 'there' } }] });
  target.connected = false;
  await reconcile();
  expect(served).toStrictEqual(['u-1']);
});

test('a failure with one volume is an error, and does not keep the others', async () => {
  const spec = { nodeName: 'there' };
  const { reconcile, served, target } = world({ served: ['u-1', 'u-2'], existing: ['u-1', 'u-2'].map((uid) => ({ uid, spec })) });
  const { unexport } = target;
  target.unexport = (uid) => (uid === 'u-1' ? Promise.reject(new Error('busy')) : unexport(uid));
  await expect(reconcile()).rejects.toThrow('busy');
  expect(served).toStrictEqual(['u-1']);
});
