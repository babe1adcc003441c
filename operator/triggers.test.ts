import type { KubeNode } from '../api/kube-node.ts';
import type { AoENode } from '../api/node.ts';
import { type AoEVolume, type AoEVolumeSpec, MOVE_TO, TAKEN_FROM, VOLUME_FINALIZER } from '../api/volume.ts';
import type { Change, KubeObject } from '../kube/mod.ts';
import * as triggers from './triggers.ts';

interface Shape {
  spec?: Partial<AoEVolumeSpec>;
  placed?: 'True' | 'False';
  finalizers?: string[];
  deleted?: boolean;
  annotations?: Record<string, string>;
}

function volume(name: string, { spec = {}, placed, finalizers = [], deleted = false, annotations }: Shape = {}): AoEVolume {
  const condition = { type: 'Placed', status: placed ?? 'True', reason: 'R', message: '', lastTransitionTime: '' } as const;
  return {
    apiVersion: 'aoe.dev/v1alpha1',
    kind: 'AoEVolume',
    metadata: {
      name,
      finalizers,
      ...(annotations ? { annotations } : {}),
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
    ...(placed ? { status: { conditions: [condition] } } : {}),
  };
}

const place = { nodeName: 'a', address: { shelf: 1, slot: 1 } };
const volumes = [
  volume('new'),
  volume('new-deleted', { deleted: true }),
  volume('on-a', { spec: place, placed: 'True', finalizers: [VOLUME_FINALIZER] }),
  volume('copy', { spec: { ...place, nodeName: 'b' }, placed: 'False', finalizers: [VOLUME_FINALIZER] }),
  volume('wish-for-a', { spec: place }),
  volume('to-be-moved', {
    spec: { ...place, nodeName: 'b' },
    placed: 'True',
    finalizers: [VOLUME_FINALIZER],
    annotations: { [MOVE_TO]: 'c' },
  }),
  volume('copied', {
    spec: { ...place, nodeName: 'b', source: { external: { shelf: 9, slot: 9 } } },
    placed: 'True',
    finalizers: [VOLUME_FINALIZER],
  }),
  volume('outside', { spec: { external: { shelf: 9, slot: 9 } }, placed: 'True' }),
  volume('outside-taken', { spec: { external: { shelf: 9, slot: 9 } }, placed: 'False' }),
  volume('used-by-w', {
    spec: { ...place, nodeName: 'b', initiators: { nodes: ['v', 'w'] } },
    placed: 'True',
    finalizers: [VOLUME_FINALIZER],
  }),
];
const stores = {
  byUse: { get: (use: string) => volumes.filter((each) => triggers.usesOf(each).includes(use)).map(({ metadata }) => metadata.name) },
  pools: { list: () => [{ metadata: { name: 'p' } }, { metadata: { name: 'q' } }] as never },
  snapshots: {
    list: () =>
      [
        { metadata: { name: 's-a' }, spec: { volumeName: 'v' }, status: { nodeName: 'a' } },
        { metadata: { name: 's-b' }, spec: { volumeName: 'w' }, status: { nodeName: 'b' } },
        { metadata: { name: 's-new' }, spec: { volumeName: 'v' } },
      ] as never,
  },
};
const WAITING = ['copied', 'copy', 'new', 'outside-taken', 'to-be-moved', 'wish-for-a'];
const named = (name: string): KubeObject => ({ metadata: { name } });
const answer = (node: string, question: string) => ({ node, question, silentSeconds: 1, hears: 1, of: 1 });
const sorted = (keys: Iterable<string>): string[] => [...new Set(keys)].sort();

describe('triggers', () => {
  const table: [string, Iterable<string>, string[]][] = [
    ['a pool wakes what waits for a place', triggers.waitingVolumes(stores), WAITING],
    ['a volume wakes itself', triggers.volumesAfterVolume({ type: 'applied', object: volume('x') }, stores), ['x']],
    [
      'a deleted volume wakes what waits for its room or address',
      triggers.volumesAfterVolume({ type: 'deleted', object: volume('x') }, stores),
      [...WAITING, 'x'],
    ],
    [
      'a volume of another target wakes what may wait until nobody uses it, and what it is copied into',
      triggers.volumesAfterVolume({ type: 'applied', object: volume('x', { spec: { external: { shelf: 9, slot: 9 } } }) }, stores),
      [...WAITING, 'x'],
    ],
    [
      'a node wakes the volumes on it, and what waits for a place',
      triggers.volumesAfterNode({ type: 'applied', object: named('a') }, stores),
      ['copied', 'copy', 'new', 'on-a', 'outside-taken', 'to-be-moved', 'wish-for-a'],
    ],
    [
      'an AoENode that appears or is gone wakes the same',
      triggers.volumesAfterAoENode({ type: 'deleted', object: named('a') as AoENode }, stores),
      ['copied', 'copy', 'new', 'on-a', 'outside-taken', 'to-be-moved', 'wish-for-a'],
    ],
    [
      'an AoENode that changes wakes what waits for a place, and not the volumes on it',
      triggers.volumesAfterAoENode({ type: 'applied', object: named('a') as AoENode, previous: named('a') as AoENode }, stores),
      WAITING,
    ],
    [
      'a node wakes the volumes that name it as initiator',
      triggers.volumesOfInitiator({ type: 'deleted', object: named('w') }, stores),
      ['used-by-w'],
    ],
    ['a volume wakes its snapshots', triggers.snapshotsOfVolume({ type: 'applied', object: volume('v') }, stores), ['s-a', 's-new']],
    [
      'a node wakes the snapshots on it, and those without a node',
      triggers.snapshotsAfterNode({ type: 'applied', object: named('a') }, stores),
      ['s-a', 's-new'],
    ],
    [
      'an answer of an agent wakes the node that it is about, once',
      triggers.nodesHeard({
        type: 'applied',
        object: { ...named('s'), status: { heard: [answer('w', 'q2'), answer('x', 'q')] } } as AoENode,
        previous: { ...named('s'), status: { heard: [answer('w', 'q1'), answer('x', 'q')] } } as AoENode,
      }),
      ['w'],
    ],
    [
      'a volume that is being taken over wakes the node that it is taken from, and the one that has it',
      triggers.nodesOfTakeover({
        type: 'applied',
        object: volume('v', {
          spec: { initiators: { nodes: ['b'] } },
          annotations: { [TAKEN_FROM]: '{"node":"a","pods":[],"attachments":[]}' },
        }),
      }),
      ['a', 'b'],
    ],
    ['a node wakes all pools', triggers.allPools(stores), ['p', 'q']],
    ['an object wakes itself', triggers.itself({ type: 'deleted', object: named('x') }), ['x']],
  ];
  for (const [what, keys, expected] of table) it(what, () => expect(sorted(keys)).toStrictEqual(expected));

  it('tell new objects and deleted ones from changed ones', () => {
    const changes: Change<KubeObject>[] = [
      { type: 'applied', object: named('x') },
      { type: 'applied', object: named('x'), previous: named('x') },
      { type: 'deleted', object: named('x'), previous: named('x') },
    ];
    expect(changes.map(triggers.isNew)).toStrictEqual([true, false, false]);
    expect(changes.map(triggers.isDeleted)).toStrictEqual([false, false, true]);
  });

  it('take a volume for news to a takeover when its user or its time changes, not when its agent reports', () => {
    const own = (takeoverAfter?: string, nodes = ['a'], phase?: string) =>
      ({ ...volume('v', { spec: { initiators: { nodes }, takeoverAfter } }), status: { phase } }) as AoEVolume;
    const change = (previous: AoEVolume, object: AoEVolume) => triggers.takeoverChanged({ type: 'applied', object, previous });
    expect(change(own(), own(undefined, ['a'], 'Ready'))).toBe(false);
    expect(change(own(), own('30s'))).toBe(true);
    expect(change(own('Never'), own())).toBe(true);
    expect(change(own(), own(undefined, ['b']))).toBe(true);
  });

  it('take a Node for news when its readiness changes, not when its kubelet reports', () => {
    const node = (status: string, other = ''): KubeNode => ({
      metadata: { name: 'a', resourceVersion: other },
      status: { conditions: [{ type: 'Ready', status, lastTransitionTime: 'T' }] },
    });
    const change = (previous: KubeNode, object: KubeNode) => triggers.readinessChanged({ type: 'applied', object, previous });
    expect(change(node('True'), node('True', 'later'))).toBe(false);
    expect(change(node('True'), node('Unknown'))).toBe(true);
    expect(change(node('Unknown'), node('True'))).toBe(true);
  });
});
