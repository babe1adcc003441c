import fc from 'fast-check';
import { available, footprint, grainOf, isPlaced, poolTotals, reservationKey, reservationOf } from './capacity.ts';
import type { AoEPool, PoolNode } from './pool.ts';
import { formatQuantity, MiB, roundUp } from './quantity.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from './volume.ts';

const pool: AoEPool = {
  apiVersion: 'aoe.dev/v1alpha1',
  kind: 'AoEPool',
  metadata: { name: 'p' },
  spec: { backend: 'lvm', volumeGroup: 'v' },
};

function node(changes: Partial<PoolNode> = {}): PoolNode {
  return { name: 'n', ready: true, size: '1Gi', granularity: '4Mi', ...changes };
}

function volume(spec: Partial<AoEVolumeSpec> = {}, finalizers = [VOLUME_FINALIZER]): AoEVolume {
  const placed = { pool: 'p', nodeName: 'n', address: { shelf: 1, slot: 1 }, capacity: '100Mi' } as const;
  return {
    apiVersion: 'aoe.dev/v1alpha1',
    kind: 'AoEVolume',
    metadata: { name: 'v', finalizers },
    spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...placed, ...spec },
  };
}

/** Bytes that volumes take in a pool on a node. */
const taken =
  (volumes: readonly AoEVolume[], on = node()) =>
  (name: string): number => {
    const parts = volumes.map(reservationOf).filter((part) => part?.key === reservationKey(name, on.name));
    return parts.reduce((sum, part) => sum + roundUp(part?.size ?? 0, grainOf(on)), 0);
  };
const none = (): number => 0;

test('footprint() rounds up to what the backend can make', () => {
  expect(footprint('1', node())).toBe(4 * MiB);
  expect(footprint('4Mi', node())).toBe(4 * MiB);
  expect(footprint('5Mi', node())).toBe(8 * MiB);
  expect(footprint('5Mi', node({ granularity: undefined }))).toBe(5 * MiB);
  expect(footprint('5Mi', node({ granularity: '0' }))).toBe(5 * MiB);
});

test('a volume is placed when node and address were granted, not when they are a wish', () => {
  expect(isPlaced(volume())).toBe(true);
  expect(isPlaced(volume({}, []))).toBe(false);
  expect(isPlaced(volume({ nodeName: undefined }))).toBe(false);
  expect(isPlaced(volume({ address: undefined }))).toBe(false);
});

test('available() is the size less what is promised there', () => {
  expect(available(pool, node(), [], none)).toBe(1024 * MiB);
  expect(available(pool, node(), [], taken([volume(), volume({ capacity: '1' })]))).toBe((1024 - 100 - 4) * MiB);
});

test('volumes of other pools, of other nodes, without a place, or served by somebody else take nothing there', () => {
  const { capacity: _, ...external } = volume().spec;
  const others = [
    volume({ pool: 'q' }),
    volume({ nodeName: 'm' }),
    volume({}, []),
    { ...volume(), spec: { ...external, pool: undefined } },
  ];
  expect(available(pool, node(), [], taken(others))).toBe(1024 * MiB);
});

test('a volume takes its tail, too, and one without a tail gives that room back', () => {
  const [plain, tailed] = [node(), node({ tail: '4Mi', withoutTail: 2 })];
  expect(footprint('5Mi', tailed)).toBe(footprint('5Mi', plain) + 4 * MiB);
  const three = Array.from({ length: 3 }, () => volume());
  const reserved = (name: string): number => taken(three)(name) + three.length * 4 * MiB;
  expect(available(pool, tailed, [], reserved)).toBe((1024 - 300 - 4) * MiB);
});

test('available() is less by what orphans and displaced backing volumes take', () => {
  expect(available(pool, node({ orphaned: '24Mi' }), [], none)).toBe(1000 * MiB);
  expect(available(pool, node({ orphaned: '24Mi', displacedBytes: '100Mi' }), [], none)).toBe(900 * MiB);
});

test('available() is less by what is in other pools with the same space', () => {
  const other = (name: string, nodes: PoolNode[]): AoEPool => ({ ...pool, metadata: { name }, status: { nodes } });
  const pools = [
    pool,
    other('q', [node({ orphaned: '8Mi' }), node({ name: 'm', orphaned: '99Mi' })]),
    other('r', [node({ orphaned: '99Mi' })]),
  ];
  const volumes = [volume(), volume({ pool: 'q' }), volume({ pool: 'q', nodeName: 'm' }), volume({ pool: 'r' })];
  expect(available(pool, node({ sharedWith: ['q'] }), pools, taken(volumes))).toBe((1024 - 200 - 8) * MiB);
  expect(available(pool, node({ sharedWith: ['q', 'gone'] }), pools, taken(volumes))).toBe((1024 - 200 - 8) * MiB);
  expect(available(pool, node(), pools, taken(volumes))).toBe((1024 - 100) * MiB);
});

test('available() is 0 on a node where the pool is not ready, was not measured, or is overcommitted', () => {
  expect(available(pool, node({ ready: false }), [], none)).toBe(0);
  expect(available(pool, node({ size: undefined }), [], none)).toBe(0);
  expect(available(pool, node(), [], taken([volume({ capacity: '2Gi' })]))).toBe(0);
});

test('volumes placed one after the other where they fit never overshoot the pool', () => {
  const capacities = fc.array(fc.integer({ min: 1, max: 300 * MiB }), { maxLength: 40 });
  const grain = fc.constantFrom('1', '4Ki', '4Mi', '128Mi');
  fc.assert(
    fc.property(capacities, grain, (wishes, granularity) => {
      const place = node({ granularity });
      const placed: AoEVolume[] = [];
      let sum = 0;
      for (const bytes of wishes) {
        const capacity = formatQuantity(bytes);
        if (footprint(capacity, place) > available(pool, place, [pool], taken(placed, place))) continue;
        placed.push(volume({ capacity }));
        sum += footprint(capacity, place);
      }
      expect(sum).toBeLessThanOrEqual(1024 * MiB);
      expect(available(pool, place, [pool], taken(placed, place))).toBe(1024 * MiB - sum);
    }),
  );
});

test('poolTotals() sums the nodes on which the pool is ready', () => {
  const nodes = [node({ free: '512Mi' }), node({ name: 'm', free: '256Mi' }), node({ name: 'broken', ready: false, free: '1Ti' })];
  expect(poolTotals(nodes)).toStrictEqual({ readyNodes: 2, size: '2Gi', free: '768Mi' });
  expect(poolTotals([])).toStrictEqual({ readyNodes: 0, size: '0', free: '0' });
  expect(poolTotals([node({ size: undefined })])).toStrictEqual({ readyNodes: 1, size: '0', free: '0' });
});
