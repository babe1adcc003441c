import { formatLock } from '../../aoe/mod.ts';
import { describeHolder, readHolder, staleLock } from './holder.ts';

const lock = (node: string, volumeUID = 'v-1') => formatLock({ node, nodeUID: 'n-1', volumeUID, since: '2026-01-01T00:00:00Z' });

test('a lock of ours names its node', () => {
  const holder = readHolder(lock('a'));
  expect(holder).toMatchObject({ name: 'a', node: 'a', nodeUID: 'n-1', since: '2026-01-01T00:00:00Z' });
  expect(holder && describeHolder(holder)).toBe('node a since 2026-01-01T00:00:00Z');
});

test('another string is quoted, and cut where it is long; an empty one names nobody', () => {
  expect(readHolder(new Uint8Array())).toBeUndefined();
  expect(readHolder(Buffer.from('short'))).toStrictEqual({ name: '"short"', raw: 'short' });
  expect(readHolder(Buffer.from('x'.repeat(40)))?.name).toBe(`"${'x'.repeat(32)}…"`);
  expect(describeHolder({ raw: 'short' })).toBe('a host that set "short"');
});

for (const [what, configString, wanted, admitted, stale] of [
  ['of a node that is neither wanted nor admitted', lock('a'), ['b'], ['b'], 'a'],
  ['of a wanted node', lock('a'), ['a'], [], undefined],
  ['of an admitted node', lock('a'), [], ['a'], undefined],
  ['of another volume', lock('a', 'v-2'), [], [], undefined],
  ['in another format', Buffer.from('net.corvus'), [], [], undefined],
  ['that is empty', new Uint8Array(), [], [], undefined],
] as const) {
  test(`a string ${what} is ${stale ? '' : 'not '}a stale lock`, () => {
    expect(staleLock(configString, { volumeUID: 'v-1', wanted, admitted })?.node).toBe(stale);
  });
}
