import { Backoff } from './backoff.ts';

test('pauses double up to the longest, and start from the shortest after a reset', () => {
  const backoff = new Backoff(100, 1000, () => 0.5);
  expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).toStrictEqual([100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test('pauses are spread by an eighth to both sides', () => {
  expect(new Backoff(100, 1000, () => 0).next()).toBe(87.5);
  expect(new Backoff(100, 1000, () => 1).next()).toBe(112.5);
});
