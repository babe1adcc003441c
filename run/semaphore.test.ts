import { Semaphore } from './semaphore.ts';

const never = () => new Promise<never>(() => {});

test('no more tasks run at a time than there are places, in the order of the calls', async () => {
  const semaphore = new Semaphore(2);
  const begun: number[] = [];
  const ends = Array.from({ length: 4 }, () => Promise.withResolvers<number>());
  const all = ends.map(({ promise }, index) =>
    semaphore.run(() => {
      begun.push(index);
      return promise;
    }),
  );
  await new Promise(setImmediate);
  expect(begun).toStrictEqual([0, 1]);
  ends[1]?.resolve(1);
  await new Promise(setImmediate);
  expect(begun).toStrictEqual([0, 1, 2]);
  for (const [index, { resolve }] of ends.entries()) resolve(index);
  expect(await Promise.all(all)).toStrictEqual([0, 1, 2, 3]);
});

test('a task that fails makes room for the next', async () => {
  const mutex = new Semaphore(1);
  const failing = mutex.run(() => Promise.reject(new Error('EIO')));
  const next = mutex.run(async () => 'next');
  await expect(failing).rejects.toThrow(/EIO/);
  expect(await next).toBe('next');
});

test('run() ends the wait for a place at an abort, but never a task', async () => {
  const mutex = new Semaphore(1);
  const { promise, resolve } = Promise.withResolvers<string>();
  const stop = new AbortController();
  const first = mutex.run(() => promise, stop.signal);
  const second = mutex.run(async () => 'never', stop.signal);
  stop.abort(new Error('stopped'));
  await expect(second).rejects.toThrow(/stopped/);
  await expect(mutex.run(never, stop.signal)).rejects.toThrow(/stopped/);
  const third = mutex.run(async () => 'third');
  resolve('first');
  expect(await Promise.all([first, third])).toStrictEqual(['first', 'third']);
});
