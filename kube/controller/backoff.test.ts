import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from './backoff.ts';

test('pauses double up to the longest, and begin anew after a reset', () => {
  const backoff = new Backoff(100, 1000, () => 0.5);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => backoff.next()),
    [100, 200, 400, 800, 1000, 1000],
  );
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('pauses are spread by an eighth to both sides', () => {
  assert.equal(new Backoff(100, 1000, () => 0).next(), 87.5);
  assert.equal(new Backoff(100, 1000, () => 1).next(), 112.5);
});
