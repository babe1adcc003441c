import { Quick } from './quick.ts';

const { signal } = new AbortController();

test('while one task takes too long, no other begins; once it has ended, they begin again', async () => {
  const quick = new Quick(20);
  const { promise, resolve } = Promise.withResolvers<string>();
  expect(await quick.attempt(() => promise, signal)).toBeUndefined();
  let begun = 0;
  const next = async () => ++begun;
  expect(await quick.attempt(next, signal)).toBeUndefined();
  expect(begun).toBe(0);
  resolve('late');
  await promise;
  await new Promise(setImmediate);
  expect(await quick.attempt(next, signal)).toBe(1);
});

test('a task waits for its turn', async () => {
  const quick = new Quick();
  const { promise, resolve } = Promise.withResolvers<string>();
  const both = Promise.all([quick.attempt(() => promise, signal), quick.attempt(async () => 'second', signal)]);
  resolve('first');
  expect(await both).toStrictEqual(['first', 'second']);
});

test('the error of a task, and the reason of an abort, are thrown', async () => {
  const quick = new Quick();
  await expect(quick.attempt(() => Promise.reject(new Error('EIO')), signal)).rejects.toThrow('EIO');
  const stop = new AbortController();
  const hanging = quick.attempt(() => new Promise(() => {}), stop.signal);
  stop.abort(new Error('enough'));
  await expect(hanging).rejects.toThrow('enough');
});
