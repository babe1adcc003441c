import { setTimeout as delay } from 'node:timers/promises';
import { sharedFor } from './shared-for.ts';

test('sharedFor() reads once for all calls within the time, and again afterwards', async () => {
  let reads = 0;
  const counted = sharedFor(60_000, async () => ++reads);
  expect(await Promise.all([counted(), counted()])).toStrictEqual([1, 1]);
  expect(await counted()).toBe(1);
  const short = sharedFor(0, async () => ++reads);
  expect(await short()).toBe(2);
  await delay(1);
  expect(await short()).toBe(3);
});

test('sharedFor() does not keep an error', async () => {
  let reads = 0;
  const failing = sharedFor(60_000, async () => {
    if (++reads === 1) throw new Error('no sysfs');
    return reads;
  });
  await expect(failing()).rejects.toThrow('no sysfs');
  expect(await failing()).toBe(2);
});
