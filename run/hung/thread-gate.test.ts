import { stat } from 'node:fs/promises';
import { LateError, ThreadGate } from './thread-gate.ts';

const LATE_MS = 20;
const gate = (places = 2) => new ThreadGate({ lateMs: LATE_MS, places });
const at = (key: string, doing = `work in ${key}`) => ({ key, doing });
const settled = () => new Promise(setImmediate);

/** A task that ends when it is told to. */
function blocked() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  return { task: () => promise, end: resolve, fail: reject };
}

test('one operation of a key is under way at a time, in the order of the calls, and each ends with what its task gives', async () => {
  const one = gate();
  const first = blocked();
  const done: string[] = [];
  const all = Promise.allSettled([
    one.run(at('a'), () => first.task().then((text) => done.push(text))),
    one.run(at('a'), async () => done.push('second')),
    one.run(at('a'), () => Promise.reject(new Error('EIO'))),
    one.run(at('a'), () => {
      throw new Error('at once');
    }),
    one.run(at('a'), async () => done.push('last')),
  ]);
  await settled();
  expect(done).toStrictEqual([]);
  first.end('first');
  expect((await all).map(({ status }) => status)).toStrictEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected', 'fulfilled']);
  expect(done).toStrictEqual(['first', 'second', 'last']);
});

test('while an operation is late, those of its key that wait or come fail with its name, others go on; once it has ended all is well', async () => {
  const one = gate();
  const hung = blocked();
  const late = one.run(at('a', 'removing /a/x'), hung.task);
  const waits = one.run(at('a'), async () => 'never');
  const expected = {
    name: 'LateError',
    message: expect.stringMatching(/^not ended yet: removing \/a\/x, begun at 20/),
    late: [{ key: 'a' }],
  };
  await expect(waits).rejects.toMatchObject(expected);
  await expect(late).rejects.toMatchObject(expected);
  await expect(one.run(at('a'), async () => 'never')).rejects.toMatchObject(expected);
  expect(() => one.check('a')).toThrow(LateError);
  expect(await one.run(at('b'), async () => 'well')).toBe('well');
  hung.fail(new Error('EIO'));
  await settled();
  one.check('a');
  expect(await one.run(at('a'), async () => 'well')).toBe('well');
});

test('an operation that may take long is late for others, while its caller waits for it', async () => {
  const one = gate();
  const long = blocked();
  const waits = one.run({ ...at('a'), limitMs: 60_000 }, long.task);
  await expect(one.run(at('a'), async () => 'never')).rejects.toThrow(LateError);
  long.end('whole');
  expect(await waits).toBe('whole');
});

test('operations of all keys together hold so many threads: when all of those are late, each other key is refused, and told why', async () => {
  const one = gate(2);
  const [a, b] = [blocked(), blocked()];
  const late = Promise.allSettled([one.run(at('a'), a.task), one.run(at('b'), b.task)]);
  let begun = false;
  const third = one.run(at('c'), async () => {
    begun = true;
  });
  await expect(third).rejects.toMatchObject({ late: [{ key: 'a' }, { key: 'b' }] });
  await late;
  expect(begun).toBe(false);
  b.end('');
  await settled();
  expect(await one.run(at('c'), async () => 'well')).toBe('well');
  a.end('');
});

test('one that waits for a place begins as soon as there is one, before those of a key that is busy', async () => {
  const one = gate(2);
  const [a, b] = [blocked(), blocked()];
  const order: string[] = [];
  const all = [
    one.run(at('a'), a.task),
    one.run(at('b'), b.task),
    one.run(at('a'), async () => order.push('a')),
    one.run(at('c'), async () => order.push('c')),
  ];
  b.end('');
  await settled();
  expect(order).toStrictEqual(['c']);
  a.end('');
  await Promise.all(all);
  expect(order).toStrictEqual(['c', 'a']);
});

test('what is urgent comes before what is not', async () => {
  const one = gate();
  const first = blocked();
  const order: string[] = [];
  const then = (text: string, isUrgent = false) => one.run({ ...at('a'), isUrgent }, async () => order.push(text));
  const all = [one.run(at('a'), first.task), then('change'), then('look', true), then('another change'), then('another look', true)];
  first.end('');
  await Promise.all(all);
  expect(order).toStrictEqual(['look', 'another look', 'change', 'another change']);
});

test('an abort ends the wait for a turn, and for a task, which keeps its place', async () => {
  const one = gate();
  const hung = blocked();
  const stop = new AbortController();
  const begun = one.run({ ...at('a'), signal: stop.signal }, hung.task);
  const waits = one.run({ ...at('a'), signal: stop.signal }, async () => 'never');
  stop.abort(new Error('enough'));
  await expect(begun).rejects.toThrow('enough');
  await expect(waits).rejects.toThrow('enough');
  await expect(one.run({ ...at('a'), signal: stop.signal }, async () => 'never')).rejects.toThrow('enough');
  await expect(one.run(at('a'), async () => 'never')).rejects.toThrow(LateError);
  hung.end('');
});

test('an operation that ended while this process was stopped is not late', async () => {
  const one = gate();
  const looked = one.run(at('a'), () => stat('/'));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 * LATE_MS);
  expect((await looked).isDirectory()).toBe(true);
});
