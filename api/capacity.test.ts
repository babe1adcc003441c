import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { available, footprint, isPlaced, poolTotals } from './capacity.ts';
import type { AoEPool, PoolNode } from './pool.ts';
import { formatQuantity } from './quantity.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from './volume.ts';

const MiB = 2 ** 20;
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

test('footprint() rounds up to what the backend can make', () => {
  assert.equal(footprint('1', node()), 4 * MiB);
  assert.equal(footprint('4Mi', node()), 4 * MiB);
  assert.equal(footprint('5Mi', node()), 8 * MiB);
  assert.equal(footprint('5Mi', node({ granularity: undefined })), 5 * MiB);
  assert.equal(footprint('5Mi', node({ granularity: '0' })), 5 * MiB);
});

test('a volume is placed when node and address were granted, not when they are a wish', () => {
  assert.equal(isPlaced(volume()), true);
  assert.equal(isPlaced(volume({}, [])), false);
  assert.equal(isPlaced(volume({ nodeName: undefined })), false);
  assert.equal(isPlaced(volume({ address: undefined })), false);
});

test('available() is the size less what is promised there', () => {
  assert.equal(available(pool, node(), []), 1024 * MiB);
  assert.equal(available(pool, node(), [volume(), volume({ capacity: '1' })]), (1024 - 100 - 4) * MiB);
});

test('available() does not count volumes of other pools, of other nodes, without a place, or served by somebody else', () => {
  const { capacity: _, ...external } = volume().spec;
  const others = [
    volume({ pool: 'q' }),
    volume({ nodeName: 'm' }),
    volume({}, []),
    { ...volume(), spec: { ...external, pool: undefined } },
  ];
  assert.equal(available(pool, node(), others), 1024 * MiB);
});

test('available() is less by what orphans take', () => {
  assert.equal(available(pool, node({ orphaned: '24Mi' }), []), 1000 * MiB);
});

test('available() is 0 on a node where the pool is not ready, was not measured, or is overcommitted', () => {
  assert.equal(available(pool, node({ ready: false }), []), 0);
  assert.equal(available(pool, node({ size: undefined }), []), 0);
  assert.equal(available(pool, node(), [volume({ capacity: '2Gi' })]), 0);
});

test('volumes placed one after the other where they fit never overshoot the pool', () => {
  const capacities = fc.array(fc.integer({ min: 1, max: 300 * MiB }), { maxLength: 40 });
  const grain = fc.constantFrom('1', '4Ki', '4Mi', '128Mi');
  fc.assert(
    fc.property(capacities, grain, (wishes, granularity) => {
      const place = node({ granularity });
      const placed: AoEVolume[] = [];
      let taken = 0;
      for (const bytes of wishes) {
        const capacity = formatQuantity(bytes);
        if (footprint(capacity, place) > available(pool, place, placed)) continue;
        placed.push(volume({ capacity }));
        taken += footprint(capacity, place);
      }
      assert.ok(taken <= 1024 * MiB);
      assert.equal(available(pool, place, placed), 1024 * MiB - taken);
    }),
  );
});

test('poolTotals() sums the nodes on which the pool is ready', () => {
  const nodes = [node({ free: '512Mi' }), node({ name: 'm', free: '256Mi' }), node({ name: 'broken', ready: false, free: '1Ti' })];
  assert.deepEqual(poolTotals(nodes), { readyNodes: 2, size: '2Gi', free: '768Mi' });
  assert.deepEqual(poolTotals([]), { readyNodes: 0, size: '0', free: '0' });
  assert.deepEqual(poolTotals([node({ size: undefined })]), { readyNodes: 1, size: '0', free: '0' });
});
