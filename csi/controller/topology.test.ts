import { SEGMENT_KEY } from '../../api/meta.ts';
import { Code } from '../../rpc/status.ts';
import { call } from './testing/fake-cluster.ts';
import { fakeDeps, lateWatch, putNode } from './testing/fake-deps.ts';
import { findTopology, segmentOf, segmentsOf, topologyOf } from './topology.ts';

test('a volume can be used on the segment of its node, or anywhere while it has none', () => {
  const { api, deps } = fakeDeps();
  putNode(api, 'b', { segment: 's2' });
  const from = (nodeName?: string) => topologyOf(deps, nodeName);
  expect(from('b')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 's2' } }]);
  expect(from('a')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 'default' } }]);
  expect(from('gone')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 'default' } }]);
  expect(from()).toStrictEqual([]);
});

test('a volume on a new node that the watch has not shown is on the segment of that node', async () => {
  const { api, deps } = fakeDeps();
  putNode(api, 'b', { segment: 's2' });
  const from = (nodeName?: string) => findTopology({ ...deps, nodes: lateWatch }, nodeName, call());
  expect(await from('b')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 's2' } }]);
  expect(await from('gone')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 'default' } }]);
  expect(await from()).toStrictEqual([]);
});

test('the segment of a storage node without a node plugin is that of the label of its Node', () => {
  const { api, deps } = fakeDeps({ health: { labels: () => ({ [SEGMENT_KEY]: 's3' }) } });
  putNode(api, 'b', { segment: 's2' });
  expect(topologyOf(deps, 'a')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 's3' } }]);
  expect(topologyOf(deps, 'b')).toStrictEqual([{ segments: { [SEGMENT_KEY]: 's2' } }]);
});

test('a topology names a segment or none, and nothing of others', () => {
  expect(segmentOf({ segments: { [SEGMENT_KEY]: 's1' } })).toBe('s1');
  expect(segmentOf({ segments: {} })).toBeUndefined();
  expect(segmentOf(undefined)).toBeUndefined();
  const both = { segments: { [SEGMENT_KEY]: 's1', zone: 'a' } };
  expect(() => segmentOf(both)).toThrow(
    expect.objectContaining({ code: Code.INVALID_ARGUMENT, message: expect.stringContaining('topology key zone') }),
  );
});

test('requirements permit the segments of their requisite terms, else of the preferred ones', () => {
  const term = (segment: string) => ({ segments: { [SEGMENT_KEY]: segment } });
  expect(segmentsOf({ requisite: [term('s1'), term('s2'), term('s1')], preferred: [term('s2')] })).toStrictEqual(['s1', 's2']);
  expect(segmentsOf({ preferred: [term('s2')] })).toStrictEqual(['s2']);
  expect(segmentsOf(null)).toStrictEqual([]);
});
