import { SEGMENT_KEY } from '../../../api/meta.ts';
import { MiB } from '../../../api/quantity.ts';
import { type csi, fromInt64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { mount } from '../testing/fake-cluster.ts';
import { fakeDeps, putNode, putPool, putVolume } from '../testing/fake-deps.ts';
import { getCapacity } from './capacity.ts';

const GiB = 1024 * MiB;
const entry = (name: string, size: string, ready = true) => ({ name, ready, size, granularity: '4Mi' });

/** Nodes a (4 GiB) and b (8 GiB) of segment s1, c (16 GiB) of s2, d (32 GiB) in maintenance, e (64 GiB) without a ready pool. */
function world(health: NonNullable<Parameters<typeof fakeDeps>[0]>['health'] = {}) {
  const { api, deps } = fakeDeps({ health });
  for (const name of ['a', 'b', 'e']) putNode(api, name, { segment: 's1' });
  putNode(api, 'c', { segment: 's2' });
  putNode(api, 'd', { segment: 's1', maintenance: true });
  const nodes = [entry('a', '4Gi'), entry('b', '8Gi'), entry('c', '16Gi'), entry('d', '32Gi'), entry('e', '64Gi', false)];
  putPool(api, 'default', [...nodes, entry('gone', '128Gi')]);
  const ask = (request: csi.v1.IGetCapacityRequest) => {
    const { availableCapacity, maximumVolumeSize } = getCapacity(deps, request);
    return [fromInt64(availableCapacity), fromInt64(maximumVolumeSize.value)];
  };
  return { api, ask };
}

const topology = (segment: string) => ({ accessibleTopology: { segments: { [SEGMENT_KEY]: segment } } });

test('only nodes count that would get a volume: of the segment, with a ready pool, not in maintenance, and with an AoENode', () => {
  const { ask } = world();
  expect(ask({})).toStrictEqual([28 * GiB, 16 * GiB]);
  expect(ask(topology('s1'))).toStrictEqual([12 * GiB, 8 * GiB]);
  expect(ask(topology('s2'))).toStrictEqual([16 * GiB, 16 * GiB]);
  expect(ask(topology('s3'))).toStrictEqual([0, 0]);
});

test('a node does not count while its agent is silent, its target does not answer, or it is not Ready', () => {
  expect(world({ silent: ({ metadata }) => (metadata.name === 'b' ? 'silent' : undefined) }).ask(topology('s1'))[0]).toBe(4 * GiB);
  expect(world({ notReady: (node) => (node === 'a' ? 'not Ready' : undefined) }).ask(topology('s1'))[0]).toBe(8 * GiB);
  for (const [reason, bytes] of [
    ['NotAnswering', 4 * GiB],
    ['NoInterface', 4 * GiB],
    ['SomethingElse', 12 * GiB],
  ] as const) {
    const { api, ask } = world();
    const conditions = [{ type: 'TargetReady', status: 'False' as const, reason, message: reason, lastTransitionTime: '' }];
    api.put({ kind: 'AoENode', metadata: { name: 'b' }, spec: {}, status: { segment: 's1', conditions } } as never);
    expect(ask(topology('s1'))[0]).toBe(bytes);
  }
});

test('what is placed is taken, in multiples of the granularity, and what is left is one, too', () => {
  const { api, ask } = world();
  putVolume(api, 'v', { nodeName: 'b', address: { shelf: 1, slot: 1 }, capacity: `${1024 * MiB + 1}` });
  expect(ask(topology('s1'))).toStrictEqual([4 * GiB + 7 * GiB - 4 * MiB, 7 * GiB - 4 * MiB]);
  putPool(api, 'default', [{ name: 'b', ready: true, size: `${10 * MiB}`, granularity: '4Mi' }]);
  api.remove({ kind: 'AoEVolume' }, 'v');
  expect(ask({})).toStrictEqual([8 * MiB, 8 * MiB]);
});

test('there is no room for what no volume can be, nor in a pool that does not exist', () => {
  const { ask } = world();
  expect(ask({ parameters: { pool: 'other' } })).toStrictEqual([0, 0]);
  expect(ask({ volumeCapabilities: [mount, { ...mount, mount: { fsType: 'ntfs' } }] })).toStrictEqual([0, 0]);
  expect(ask({ volumeCapabilities: [mount] })[0]).toBe(28 * GiB);
});

test('a topology of somebody else is refused', () => {
  const { ask } = world();
  expect(() => ask({ accessibleTopology: { segments: { zone: 'a' } } })).toThrow(expect.objectContaining({ code: Code.INVALID_ARGUMENT }));
});

test('a volume of exactly the size that is said to fit, does, with its tail', () => {
  const { api, ask } = world();
  const size = { name: 'b', ready: true, size: `${100 * MiB}`, granularity: '4Mi', tail: '4Mi' };
  putPool(api, 'default', [size]);
  expect(ask({})).toStrictEqual([96 * MiB, 96 * MiB]);
  putVolume(api, 'v', { nodeName: 'b', address: { shelf: 1, slot: 1 }, capacity: `${50 * MiB}` });
  expect(ask({})).toStrictEqual([(100 - 52 - 4 - 4) * MiB, 40 * MiB]);
  putVolume(api, 'w', { nodeName: 'b', address: { shelf: 1, slot: 2 }, capacity: `${40 * MiB}` });
  expect(ask({})).toStrictEqual([0, 0]);
  putPool(api, 'default', [{ ...size, withoutTail: 2 }]);
  expect(ask({})).toStrictEqual([4 * MiB, 4 * MiB]);
});
