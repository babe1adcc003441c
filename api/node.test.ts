import { type AoENode, segmentOf } from './node.ts';

test.each([
  [undefined, undefined, 'default'],
  [undefined, 'a', 'a'],
  ['b', 'a', 'b'],
  // A label without a value.
  [undefined, '', 'default'],
  ['', '', 'default'],
])('a node whose AoENode has segment %j and whose Node has label %j is in segment %s', (segment, label, want) => {
  const node = segment === undefined ? undefined : ({ status: { segment } } as AoENode);
  expect(segmentOf(node, label === undefined ? undefined : { 'aoe.dev/segment': label })).toBe(want);
});
