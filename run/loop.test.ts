import assert from 'node:assert/strict';
import { loop } from './loop.ts';

const never = (): void => assert.fail('no pass fails');

test('it goes on after a pass that failed, and ends at the signal', async () => {
  const stop = new AbortController();
  const failures: unknown[] = [];
  let passes = 0;
  await loop(
    async () => {
      passes++;
      if (passes === 3) stop.abort();
      throw new Error(`pass ${passes}`);
    },
    { everyMs: 1, signal: stop.signal, failed: (error) => void failures.push((error as Error).message) },
  );
  expect(failures, 'a failure while ending is none').toStrictEqual(['pass 1', 'pass 2']);
});

test('a pass gives its own pause, and so does a failure', async () => {
  const stop = new AbortController();
  let passes = 0;
  await loop(
    async () => {
      passes++;
      if (passes === 1) return 1;
      if (passes === 2) throw new Error('broken');
      stop.abort();
      return undefined;
    },
    { everyMs: 60_000, signal: stop.signal, failed: () => 1 },
  );
  expect(passes).toBe(3);
});

test('an abort ends the pause', async () => {
  const stop = new AbortController();
  const running = loop(async () => {}, { everyMs: 60_000, signal: stop.signal, failed: never });
  await new Promise(setImmediate);
  stop.abort();
  await running;
});
