import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoEVolume } from '../api/volume.ts';
import type { Change, KubeObject, WatchOptions } from '../kube/mod.ts';
import { afterLinkChange, afterSnapshot, afterTargetChange, afterVolumeEvent, watches } from './triggers.ts';

const volume = (name: string, pool: string, initiators: object = {}): AoEVolume =>
  ({ metadata: { name, uid: `uid-${name}` }, spec: { pool, initiators } }) as never;
const volumes = [volume('a', 'fast', { nodes: ['worker'] }), volume('b', 'fast'), volume('c', 'slow', { macs: ['02:00:00:00:00:01'] })];
const pool = (name: string, generation: number, status?: object): AoEPool =>
  ({ metadata: { name, generation }, spec: {}, status }) as never;
const node = (name: string, interfaces: string[], agentSeen = ''): AoENode =>
  ({
    metadata: { name },
    spec: {},
    status: { agentSeen, interfaces: interfaces.map((mac) => ({ name: 'eth0', mac, mtu: 1500 })) },
  }) as never;
const labelled = (labels: Record<string, string>, resourceVersion = '1'): KubeObject => ({
  metadata: { name: 'storage', labels, resourceVersion },
});
const snapshots = [
  { metadata: { name: 's1' }, spec: { volumeName: 'a' } },
  { metadata: { name: 's2' }, spec: { volumeName: 'a' }, status: { pool: 'fast', createdAt: '2026-11-28T08:00:00Z' } },
] as never as AoESnapshot[];
let lists = 0;
const context = {
  node: 'storage',
  volumes: {
    list: () => {
      lists++;
      return volumes;
    },
  },
  byUid: { get: (uid: string) => volumes.flatMap(({ metadata }) => (metadata.uid === uid ? [metadata.name] : [])) },
  pools: { list: () => [pool('fast', 1), pool('slow', 1)] },
  snapshots: { list: () => snapshots },
};

/** The keys that a change leads to. */
function keys<T>({ when, keys: of }: WatchOptions<T>, change: Change<T>): string[] {
  return when?.(change) === false ? [] : [...of(change)];
}
const added = <T>(object: T): Change<T> => ({ type: 'applied', object });
const changed = <T>(previous: T, object: T): Change<T> => ({ type: 'applied', object, previous });
const deleted = <T>(object: T): Change<T> => ({ type: 'deleted', object, previous: object });

const ofHeard = watches.heard(context);
const suspected = (name: string): AoENode => ({ ...node(name, []), status: { suspicion: { question: 'q' } } });
const [ofVolumeSnapshots, ofPoolSnapshots] = [watches.snapshotsOfVolume(context), watches.snapshotsOfPool(context)];
const { volumes: ofVolumes, pools: ofPools } = watches;
const moved = { ...volume('a', 'fast'), spec: { ...volume('a', 'fast').spec, moves: 1 } };
const [ofPool, ofNodes, ofSelf, ofNode, ofExports] = [
  watches.volumesOfPool(context),
  watches.volumesWithNodes(context),
  watches.poolsOfNode(context),
  watches.node(context),
  watches.exports(context),
];

for (const [what, got, want] of [
  ['a volume: itself', keys(ofVolumes, changed(volume('a', 'fast'), volume('a', 'fast'))), ['a']],
  ['a volume: not its pool', keys(watches.poolsOfVolume, added(volume('a', 'fast'))), []],
  ['a volume that was moved here: its pool', keys(watches.poolsOfVolume, added(moved)), ['fast']],
  [
    'a volume that its agent has reported on since: not its pool',
    keys(watches.poolsOfVolume, added({ ...moved, status: { moves: 1 } })),
    [],
  ],
  ['a volume: not the exports', keys(ofExports, changed(volume('a', 'fast'), volume('a', 'fast'))), []],
  ['a volume that is gone, or on another node now: the exports', keys(ofExports, deleted(volume('a', 'fast'))), ['storage']],
  ['a volume that is gone: itself', keys(ofVolumes, deleted(volume('a', 'fast'))), ['a']],
  ['a new pool: its volumes', keys(ofPool, added(pool('fast', 1))), ['a', 'b']],
  ['a new pool: itself', keys(ofPools, added(pool('fast', 1))), ['fast']],
  ['other settings of a pool: its volumes', keys(ofPool, changed(pool('slow', 1), pool('slow', 2))), ['c']],
  ['other settings of a pool: itself', keys(ofPools, changed(pool('slow', 1), pool('slow', 2))), ['slow']],
  ["another agent's entry in a pool: no volume", keys(ofPool, changed(pool('fast', 1), pool('fast', 1, { nodes: [] }))), []],
  ["another agent's entry in a pool: not the pool", keys(ofPools, changed(pool('fast', 1), pool('fast', 1, { nodes: [] }))), []],
  ['a pool that is gone: its volumes', keys(ofPool, deleted(pool('fast', 1))), ['a', 'b']],
  ['a pool that is gone: itself', keys(ofPools, deleted(pool('fast', 1))), ['fast']],
  [
    'a node that the operator suspects: what the target here heard',
    keys(ofHeard, changed(node('worker', []), suspected('worker'))),
    ['storage'],
  ],
  [
    'a node whose heartbeat is new: not what the target here heard',
    keys(ofHeard, changed(node('worker', []), node('worker', [], 'later'))),
    [],
  ],
  ['a new node: volumes that name nodes', keys(ofNodes, added(node('worker', ['x']))), ['a']],
  ['a volume that has data now: its snapshots that were not taken', keys(ofVolumeSnapshots, added(volume('a', 'fast'))), ['s1']],
  ['another heartbeat of a volume: no snapshot', keys(ofVolumeSnapshots, changed(volume('a', 'fast'), volume('a', 'fast'))), []],
  ['other settings of a pool: its snapshots', keys(ofPoolSnapshots, changed(pool('fast', 1), pool('fast', 2))), ['s2']],
  ['other addresses of a node: volumes that name nodes', keys(ofNodes, changed(node('worker', ['x']), node('worker', ['y']))), ['a']],
  ['the heartbeat of an agent: no volume', keys(ofNodes, changed(node('worker', ['x'], '1'), node('worker', ['x'], '2'))), []],
  ['a node that is gone: volumes that name nodes', keys(ofNodes, deleted(node('worker', ['x']))), ['a']],
  ['other labels of this node: all pools', keys(ofSelf, changed(labelled({}), labelled({ disk: 'ssd' }))), ['fast', 'slow']],
  ['the heartbeat of the kubelet: no pool', keys(ofSelf, changed(labelled({ a: 'b' }), labelled({ a: 'b' }, '2'))), []],
  ['the AoENode of this node: itself', keys(ofNode, changed(node('storage', []), node('storage', []))), ['storage']],
  ['the AoENode of another node: not this one', keys(ofNode, added(node('worker', []))), []],
] as const) {
  test(`after ${what}`, () => expect(got).toStrictEqual(want));
}

test('after a change of one volume at the target: that volume, and the state of the node; the others are not read', () => {
  lists = 0;
  expect(afterTargetChange({ type: 'volume', uid: 'uid-b' }, context)).toStrictEqual([
    { controller: 'node', key: 'storage' },
    { controller: 'volumes', key: 'b' },
  ]);
  expect(afterTargetChange({ type: 'volume', uid: 'unknown' }, context), 'it may have been moved to another node').toStrictEqual([
    { controller: 'node', key: 'storage' },
    { controller: 'exports', key: 'storage' },
  ]);
  expect(lists).toBe(0);
});

test('after a change of what is no volume at the target: also the snapshots that it serves for copies', () => {
  const served = {
    metadata: { name: 's3' },
    spec: {},
    status: { nodeName: 'storage', copyServed: { shelf: 9, slot: 1 } },
  } as never as AoESnapshot;
  const elsewhere = { ...served, metadata: { name: 's4' }, status: { ...served.status, nodeName: 'other' } };
  const requests = afterTargetChange(
    { type: 'volume', uid: 'snap-x' },
    { ...context, snapshots: { list: () => [...snapshots, served, elsewhere] } },
  );
  expect(requests).toContainEqual({ controller: 'snapshots', key: 's3' });
  expect(requests.map(({ key }) => key)).not.toContain('s4');
});

test('after a change of its connection or interfaces: all volumes, and the state of the node; after the connection also the exports', () => {
  for (const type of ['connection', 'interfaces'] as const) {
    const requests = afterTargetChange({ type }, context);
    expect(requests.map(({ controller, key }) => `${controller}/${key}`)).toStrictEqual([
      'node/storage',
      ...(type === 'connection' ? ['exports/storage'] : []),
      'volumes/a',
      'volumes/b',
      'volumes/c',
    ]);
  }
});

test('after the data of a volume is there: the volume; after a pool was used: the pool, with what else changes in it meanwhile', () => {
  expect(afterVolumeEvent({ type: 'data', volume: 'a' })).toStrictEqual([{ controller: 'volumes', key: 'a' }]);
  expect(afterVolumeEvent({ type: 'pool', pool: 'fast' })).toStrictEqual([{ controller: 'pools', key: 'fast', afterMs: 1_000 }]);
});

test('after a snapshot was taken, is whole or was removed: the pool, and the volume, which may have waited for that', () => {
  expect(afterSnapshot({ pool: 'fast', volume: 'a' })).toStrictEqual([
    { controller: 'pools', key: 'fast', afterMs: 1_000 },
    { controller: 'volumes', key: 'a' },
  ]);
  expect(afterSnapshot({ pool: 'fast' })).toHaveLength(1);
});

test('after a change of the local link: the state of the node', () => {
  expect(afterLinkChange(context)).toStrictEqual([{ controller: 'node', key: 'storage' }]);
});
