import { listed } from './listed.ts';

test.each([
  [0, ', ', ''],
  [1, ', ', 'a'],
  [5, ', ', 'a, a, a, a, a'],
  [6, ', ', 'a, a, a, a, a and 1 more'],
  [1000, '; ', 'a; a; a; a; a; and 995 more'],
] as const)('a list of %i for a message, with "%s"', (count, separator, text) => {
  expect(listed(Array(count).fill('a'), separator)).toBe(text);
});
