import fc from 'fast-check';
import { MiB, parseQuantity } from '../../api/quantity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from '../../api/volume.ts';
import { reservationsOf } from '../testing/indexes.ts';
import { AddressRange, addressKey } from './address-range.ts';
import { type Cluster, newAddress, place } from './place.ts';

const RANGE = new AddressRange('1');

function volume(name: string, spec: Partial<AoEVolumeSpec> = {}): AoEVolume {
  return {
    apiVersion: 'aoe.dev/v1alpha1',
    kind: 'AoEVolume',
    // As the operator leaves it when it has found a place.
    metadata: { name, uid: name, ...(spec.nodeName ? { finalizers: [VOLUME_FINALIZER] } : {}) },
    spec: { capacity: '1Gi', pool: 'default', access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
  };
}

/** A volume that has not been given what it asks for. */
function wish(name: string, spec: Partial<AoEVolumeSpec>): AoEVolume {
  const made = volume(name, spec);
  return { ...made, metadata: { name, uid: name } };
}

interface NodeOptions {
  silent?: boolean;
  target?: string;
  size?: string;
  ready?: boolean;
  full?: true;
  maintenance?: boolean;
  segment?: string;
}

const SNAPSHOTS = [
  { metadata: { name: 'on-b' }, status: { phase: 'Ready', nodeName: 'b', pool: 'default', capacity: '1Gi' } },
  { metadata: { name: 'elsewhere' }, status: { phase: 'Ready', nodeName: 'b', pool: 'other', capacity: '1Gi' } },
  { metadata: { name: 'large' }, status: { phase: 'Ready', nodeName: 'b', pool: 'default', capacity: '2Gi' } },
  { metadata: { name: 'new' }, status: { phase: 'Pending', nodeName: 'b', pool: 'default' } },
] as never as AoESnapshot[];
const from = (snapshot: string): Partial<AoEVolumeSpec> => ({ source: { snapshot } });

/** A cluster in which the Node of storage node b, which has no node plugin, says that it is on segment s2. */
function withoutPlugin(): Cluster {
  const among = cluster({ a: {}, b: { size: '2Gi' } });
  const nodes = among.nodes.map((node) => (node.metadata.name === 'b' ? { ...node, status: { targets: 1 } } : node));
  return { ...among, nodes, labels: (node) => (node === 'b' ? { 'aoe.dev/segment': 's2' } : {}) };
}

function cluster(nodes: Record<string, NodeOptions>, volumes: AoEVolume[] = []): Cluster {
  const entries = Object.entries(nodes);
  return {
    pools: [
      {
        apiVersion: 'aoe.dev/v1alpha1',
        kind: 'AoEPool',
        metadata: { name: 'default' },
        spec: { backend: 'file', directory: '/d' },
        status: {
          nodes: entries.map(([name, { size = '10Gi', full, ready = !full }]) => ({
            name,
            ready,
            ...(full && { full }),
            size,
            granularity: '4Mi',
          })),
        },
      },
    ],
    silent: ({ metadata: { name } }) => (nodes[name]?.silent ? `the agent on ${name} is silent` : undefined),
    nodes: entries.map(([name, { maintenance = false, segment = 'default', target }]) => ({
      apiVersion: 'aoe.dev/v1alpha1',
      kind: 'AoENode',
      metadata: { name },
      spec: { maintenance },
      status: {
        segment,
        ...(target
          ? { conditions: [{ type: 'TargetReady', status: 'False' as const, reason: target, message: target, lastTransitionTime: '' }] }
          : {}),
      },
    })),
    reserved: reservationsOf(volumes),
    snapshot: (name) => SNAPSHOTS.find(({ metadata }) => metadata.name === name),
  };
}

/** The cluster with this selector of its pool, and these labels of its nodes. */
function selecting(nodeSelector: Record<string, string>, labels: Record<string, Record<string, string>>, among: Cluster): Cluster {
  const pools = among.pools.map((pool) => ({ ...pool, spec: { ...pool.spec, nodeSelector } }));
  return { ...among, pools, labels: (node) => labels[node] };
}

describe('place', () => {
  const cases: { name: string; wants?: Partial<AoEVolumeSpec>; among: Cluster; gets: string | RegExp }[] = [
    { name: 'takes the node with the most room', among: cluster({ a: { size: '4Gi' }, b: { size: '8Gi' } }), gets: 'b' },
    {
      name: 'counts what is placed but not made',
      among: cluster({ a: { size: '4Gi' }, b: { size: '5Gi' } }, [
        volume('x', { nodeName: 'b', address: { shelf: 1, slot: 9 }, capacity: '4Gi' }),
      ]),
      gets: 'a',
    },
    { name: 'takes the node of the snapshot', wants: from('on-b'), among: cluster({ a: { size: '9Gi' }, b: { size: '2Gi' } }), gets: 'b' },
    {
      name: 'takes the node that the user names for a copy',
      wants: { ...from('on-b'), nodeName: 'a' },
      among: cluster({ a: {}, b: {} }),
      gets: 'a',
    },
    {
      name: 'takes any node for a copy from another pool',
      wants: from('elsewhere'),
      among: cluster({ a: { size: '9Gi' }, b: { size: '2Gi' } }),
      gets: 'a',
    },
    {
      name: 'copies only where the source can be read',
      wants: from('elsewhere'),
      among: cluster({ a: { segment: 's2' }, b: { size: '2Gi' } }),
      gets: 'b',
    },
    {
      name: 'refuses a copy where no node can read the source',
      wants: { ...from('elsewhere'), nodeName: 'a' },
      among: cluster({ a: { segment: 's2' }, b: {} }),
      gets: /NoEligibleNode.*a is on segment s2, and node b, which has the source, on segment default/,
    },
    {
      name: 'refuses the address at which a snapshot is copied',
      wants: { address: { shelf: 1, slot: 5 } },
      among: {
        ...cluster({ a: {} }),
        reserved: { claimants: () => [], taken: () => 0, copiedAt: () => 'snap', resting: () => new Set<string>() },
      },
      gets: /AddressTaken.*AoESnapshot snap has address e1.5/,
    },
    { name: 'refuses less than the snapshot has', wants: from('large'), among: cluster({ b: {} }), gets: /SourceTooLarge.*2Gi.*1Gi/ },
    { name: 'waits for the snapshot', wants: from('new'), among: cluster({ b: {} }), gets: /SourceNotReady/ },
    {
      name: 'waits for a snapshot that is not there',
      wants: from('none'),
      among: cluster({ b: {} }),
      gets: /SourceNotReady.*does not exist/,
    },
    { name: 'leaves out a node in maintenance', among: cluster({ a: { size: '4Gi' }, b: { maintenance: true } }), gets: 'a' },
    { name: 'leaves out a node whose pool is not ready', among: cluster({ a: {}, b: { ready: false, size: '99Gi' } }), gets: 'a' },
    {
      name: 'leaves out a node that the pool does not select, though its agent says that the pool is there',
      among: selecting({ disk: 'ssd' }, { a: { disk: 'ssd' }, b: { disk: 'hdd' } }, cluster({ a: { size: '4Gi' }, b: {}, c: {} })),
      gets: 'a',
    },
    {
      name: 'gives a node that the pool does not select nothing, also when the user names it',
      wants: { nodeName: 'b' },
      among: selecting({ disk: 'ssd' }, { a: { disk: 'ssd' }, b: {} }, cluster({ a: {}, b: {} })),
      gets: /^NoEligibleNode: .*nodeSelector of pool default does not match the labels of node b$/,
    },
    { name: 'keeps to the segments', wants: { segments: ['s2'] }, among: cluster({ a: {}, b: { segment: 's2', size: '2Gi' } }), gets: 'b' },
    {
      name: 'takes the segment of a node without a node plugin from its Node',
      wants: { segments: ['s2'] },
      among: withoutPlugin(),
      gets: 'b',
    },
    {
      name: 'places nothing of segment default on a node without a node plugin whose Node is on another one',
      wants: { segments: ['default'], nodeName: 'b' },
      among: withoutPlugin(),
      gets: /NoEligibleNode.*b is on segment s2/,
    },
    {
      name: 'knows from its Node where a source on a node without a node plugin can be read',
      wants: { ...from('elsewhere'), nodeName: 'a' },
      among: withoutPlugin(),
      gets: /NoEligibleNode.*a is on segment default, and node b, which has the source, on segment s2/,
    },
    { name: 'keeps to the node that the user names', wants: { nodeName: 'a' }, among: cluster({ a: { size: '2Gi' }, b: {} }), gets: 'a' },
    {
      name: 'needs no room for what is adopted',
      wants: { nodeName: 'a', capacity: '20Gi', adopt: 'old' },
      among: cluster({ a: {} }),
      gets: 'a',
    },
    {
      name: 'does not count a volume against itself when the user named its node',
      wants: { nodeName: 'a', capacity: '7Gi' },
      among: cluster({ a: {} }, [wish('new', { nodeName: 'a', capacity: '7Gi' })]),
      gets: 'a',
    },
    {
      name: 'does not count what a user wishes for and was not given',
      wants: { capacity: '7Gi' },
      among: cluster({ a: {} }, [wish('huge', { nodeName: 'a', capacity: '99Gi' })]),
      gets: 'a',
    },
    {
      name: 'leaves out a node whose target does not answer',
      among: cluster({ a: { size: '4Gi' }, b: { target: 'NotAnswering' } }),
      gets: 'a',
    },
    {
      name: 'leaves out a node whose agent is silent, though its pool was ready',
      among: cluster({ a: { size: '4Gi' }, b: { size: '8Gi', silent: true } }),
      gets: 'a',
    },
    {
      name: 'waits for an agent that is silent',
      among: cluster({ b: { silent: true } }),
      gets: /^NodesNotReady: .*the agent on b is silent/,
    },
    { name: 'takes a node whose target lacks the local link only', among: cluster({ a: { target: 'NoLocalLink' } }), gets: 'a' },
    {
      name: 'refuses an address that an older volume waits for',
      wants: { address: { shelf: 1, slot: 1 } },
      among: cluster({ a: {} }, [wish('a-first', { pool: 'later', address: { shelf: 1, slot: 1 } })]),
      gets: /^AddressTaken: AoEVolume a-first has address e1.1/,
    },
    {
      name: 'says what is free',
      wants: { capacity: '11Gi' },
      among: cluster({ a: { size: '4Gi' }, b: {} }),
      gets: /^PoolFull: no node of pool default has 11Gi free: 10Gi on b, 4Gi on a/,
    },
    {
      name: 'refuses where the pool takes nothing new, whatever is free, as where it is full',
      among: cluster({ a: { full: true, size: '99Gi' }, b: { target: 'NotAnswering' } }),
      gets: /^PoolFull: no node can hold a volume of pool default: a: .*; b: /,
    },
    { name: 'leaves out a node whose pool is only full', among: cluster({ a: {}, b: { full: true, size: '99Gi' } }), gets: 'a' },
    {
      name: 'names the pools there are',
      wants: { pool: 'fast' },
      among: cluster({ a: {} }),
      gets: /^NoSuchPool: AoEPool fast does not exist: there are default/,
    },
    { name: 'says why no node will do', among: cluster({ a: { maintenance: true } }), gets: /^NoEligibleNode: .*a is in maintenance/ },
    {
      name: 'waits for a node that is on its way back',
      among: cluster({ a: { maintenance: true }, b: { target: 'NotAnswering' } }),
      gets: /^NodesNotReady: .*a is in maintenance; b: /,
    },
    {
      name: 'refuses an address of another volume',
      wants: { address: { shelf: 1, slot: 1 } },
      among: cluster({ a: {} }, [volume('x', { nodeName: 'a', address: { shelf: 1, slot: 1 } })]),
      gets: /^AddressTaken: AoEVolume x has address e1.1/,
    },
    {
      name: 'refuses the address of an external target',
      wants: { address: { shelf: 1, slot: 1 } },
      among: cluster({ a: {} }, [volume('x', { external: { shelf: 1, slot: 1 } })]),
      gets: /^AddressTaken/,
    },
    {
      name: 'takes the address of the disk that it copies, out of range as that is',
      wants: { address: { shelf: 55, slot: 5 }, source: { external: { shelf: 55, slot: 5 } } },
      among: cluster({ a: {} }),
      gets: 'a',
    },
    {
      name: 'says what stands for the disk whose address it is to keep',
      wants: { address: { shelf: 55, slot: 5 }, source: { external: { shelf: 55, slot: 5 } } },
      among: cluster({ a: {} }, [volume('x', { external: { shelf: 55, slot: 5 } })]),
      gets: /^AddressTaken: AoEVolume x has address e55\.5: delete it, which leaves its disk as it is/,
    },
    {
      name: 'copies a disk that an AoEVolume stands for, and that nobody uses',
      wants: { source: { external: { shelf: 55, slot: 5 } } },
      among: cluster({ a: {} }, [volume('x', { external: { shelf: 55, slot: 5 } })]),
      gets: 'a',
    },
    {
      name: 'waits until a disk is detached that it is to be a copy of',
      wants: { source: { external: { shelf: 55, slot: 5 } } },
      among: cluster({ a: {} }, [volume('x', { external: { shelf: 55, slot: 5 }, initiators: { nodes: ['w'] } })]),
      gets: /^SourceInUse: the disk at e55\.5 is used by w, as AoEVolume x/,
    },
    {
      name: 'refuses to copy a volume of this cluster as the disk of another target',
      wants: { source: { external: { shelf: 1, slot: 5 } } },
      among: cluster({ a: {} }, [volume('x', { nodeName: 'a', address: { shelf: 1, slot: 5 } })]),
      gets: /^AddressTaken: e1\.5 is the address of AoEVolume x of this cluster: use a snapshot or a clone/,
    },
    {
      name: 'refuses the address of a disk that is copied into another volume',
      wants: { address: { shelf: 1, slot: 5 } },
      among: cluster({ a: {} }, [volume('x', { source: { external: { shelf: 1, slot: 5 } } })]),
      gets: /^AddressTaken: the disk of another target at e1\.5 is to be copied into AoEVolume x/,
    },
    {
      name: 'gives that address once the copy is whole',
      wants: { address: { shelf: 1, slot: 5 } },
      among: cluster({ a: {} }, [{ ...volume('x', { source: { external: { shelf: 1, slot: 5 } } }), status: { capacity: '1Gi' } }]),
      gets: 'a',
    },
    {
      name: 'refuses an address out of range',
      wants: { address: { shelf: 2, slot: 1 } },
      among: cluster({ a: {} }),
      gets: /^AddressOutOfRange: .*1-1/,
    },
  ];
  for (const { name, wants, among, gets } of cases) {
    it(name, () => {
      const decision = place(volume('new', wants), among, RANGE, undefined);
      if (typeof gets === 'string') expect('nodeName' in decision && decision.nodeName).toBe(gets);
      else expect('refused' in decision ? `${decision.refused}: ${decision.message}` : JSON.stringify(decision)).toMatch(gets);
    });
  }

  it('gives nobody the address of a disk that is to be copied', () => {
    const external = { source: { external: { shelf: 1, slot: 0 } } };
    const copied = volume('copied', { ...external, nodeName: 'a', address: { shelf: 1, slot: 1 } });
    const itself = volume('new', external);
    for (const among of [[], [itself]])
      expect(place(itself, cluster({ a: {} }, among), RANGE, undefined)).toMatchObject({ address: { shelf: 1, slot: 1 } });
    expect(place(volume('new'), cluster({ a: {} }, [copied]), RANGE, undefined)).toMatchObject({ address: { shelf: 1, slot: 2 } });
  });

  it('never promises more than there is, nor one address twice, whatever comes in whatever order', () => {
    const requests = fc.array(fc.record({ mib: fc.integer({ min: 1, max: 4096 }), remove: fc.boolean() }), { maxLength: 300 });
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 20_000 }), (list, a, b) => {
        const sizes: Record<string, number> = { a: a * MiB, b: b * MiB };
        let volumes: AoEVolume[] = [];
        let previous: { shelf: number; slot: number } | undefined;
        list.forEach(({ mib, remove }, index) => {
          if (remove) volumes = volumes.slice(1);
          const next = volume(`v${index}`, { capacity: `${mib}Mi` });
          const decision = place(next, cluster({ a: { size: `${a}Mi` }, b: { size: `${b}Mi` } }, volumes), RANGE, previous);
          if ('refused' in decision) return;
          previous = decision.address;
          volumes = [...volumes, volume(next.metadata.name, { ...next.spec, ...decision })];
        });
        const addresses = volumes.map(({ spec }) => (spec.address ? addressKey(spec.address) : ''));
        expect(new Set(addresses).size).toBe(volumes.length);
        for (const node of ['a', 'b']) {
          const sum = volumes.reduce(
            (bytes, { spec }) => (spec.nodeName === node ? bytes + parseQuantity(spec.capacity ?? '0') : bytes),
            0,
          );
          expect(sum, `${sum} bytes on ${node}`).toBeLessThanOrEqual(sizes[node] ?? 0);
        }
      }),
      { numRuns: 50 },
    );
  });
});

test('an address that a lost node may serve again is given only when there is no other', () => {
  const rest = { uid: 'gone', volume: 'gone', node: 'lost', addresses: [0, 2].map((slot) => ({ shelf: 1, slot })) };
  const pool = { metadata: { name: 'default' }, spec: {}, status: { abandoned: [rest] } } as never;
  const next = (taken: readonly number[]) => {
    const volumes = taken.map((slot) => volume(`v${slot}`, { nodeName: 'a', address: { shelf: 1, slot } }));
    return newAddress(volume('new'), reservationsOf(volumes, [pool]), RANGE, undefined);
  };
  expect(next([])).toStrictEqual({ shelf: 1, slot: 1 });
  expect(next([1])).toStrictEqual({ shelf: 1, slot: 3 });
  const all = Array.from({ length: 255 }, (_, slot) => slot);
  expect(next(all.filter((slot) => slot !== 0 && slot !== 2))).toStrictEqual({ shelf: 1, slot: 0 });
  expect(next(all)).toMatchObject({ refused: 'AddressRangeExhausted' });
});
