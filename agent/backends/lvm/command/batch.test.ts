import { Batch, type Pending } from './batch.ts';
import { Turns } from './turns.ts';

const { signal } = new AbortController();

/** A batch whose turn is taken until `free` is called. */
function batch(carryOut?: (items: readonly Pending<number>[]) => Promise<void>) {
  const turns = new Turns();
  const { promise, resolve } = Promise.withResolvers<void>();
  void turns.run(() => promise);
  const commands: number[][] = [];
  const it = new Batch<number>(turns, async (items) => {
    commands.push(items.map(({ item }) => item));
    if (carryOut) return await carryOut(items);
    for (const { done } of items) done();
  });
  return { it, turns, commands, free: resolve };
}
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

test('one command is for all that wait', async () => {
  const { it, commands, free } = batch();
  const all = numbers(5).map((item) => it.add(item, signal));
  free();
  await Promise.all(all);
  expect(commands).toStrictEqual([[0, 1, 2, 3, 4]]);
  await it.add(9, signal);
  expect(commands.at(-1)).toStrictEqual([9]);
});

test('a command gets so many items, and the others the next one', async () => {
  const { it, commands, free } = batch();
  const all = numbers(20).map((item) => it.add(item, signal));
  free();
  await Promise.all(all);
  expect(commands.map(({ length }) => length)).toStrictEqual([16, 4]);
});

test('other tasks go first until enough have gathered', async () => {
  for (const [count, order] of [
    [7, ['other', 'batch']],
    [8, ['batch', 'other']],
  ] as const) {
    const seen: string[] = [];
    const { it, turns, free } = batch(async (items) => {
      seen.push('batch');
      for (const { done } of items) done();
    });
    const all = numbers(count).map((item) => it.add(item, signal));
    const other = turns.run(async () => void seen.push('other'));
    free();
    await Promise.all([...all, other]);
    expect(seen).toStrictEqual(order);
  }
});

test('an item that is stopped while it waits is not carried out, and what a command throws is the error of all its items', async () => {
  const { it, commands, free } = batch(() => Promise.reject(new Error('broken')));
  const stop = new AbortController();
  const all = Promise.allSettled([it.add(1, signal), it.add(2, stop.signal), it.add(3, signal)]);
  stop.abort(new Error('stopped'));
  free();
  const reasons = (await all).map((each) => (each.status === 'rejected' ? String(each.reason) : ''));
  expect(reasons).toStrictEqual(['Error: broken', 'Error: stopped', 'Error: broken']);
  expect(commands).toStrictEqual([[1, 3]]);
});
