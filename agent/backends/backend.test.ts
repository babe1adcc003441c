import { checkUid, kindOf, roundDown, roundUp } from './backend.ts';

test('a UID can be part of a name, and leads nowhere else', () => {
  expect(checkUid('11111111-2222-3333-4444-555555555555')).toBe('11111111-2222-3333-4444-555555555555');
  for (const uid of ['', '-x', '../x', 'a/b', 'a..b', 'x'.repeat(64), 'a b']) expect(() => checkUid(uid)).toThrow(RangeError);
});

test('a snapshot is recognized by its name, and no volume can have such a name', () => {
  expect([kindOf('11111111-2222'), kindOf('snap-11111111-2222')]).toStrictEqual(['volume', 'snapshot']);
  expect(() => checkUid('snap-11111111-2222')).toThrow(RangeError);
});

test('sizes are rounded to a multiple', () => {
  expect([roundUp(1, 4), roundUp(4, 4), roundDown(5, 4), roundDown(-1, 4)]).toStrictEqual([4, 4, 4, 0]);
});
