import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Semaphore } from './semaphore.ts';

const soon = () => AbortSignal.timeout(20);
const late = () => AbortSignal.timeout(5000);
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
  assert.deepEqual(begun, [0, 1]);
  ends[1]?.resolve(1);
  await new Promise(setImmediate);
  assert.deepEqual(begun, [0, 1, 2]);
  for (const [index, { resolve }] of ends.entries()) resolve(index);
  assert.deepEqual(await Promise.all(all), [0, 1, 2, 3]);
});

test('a task that fails makes room for the next', async () => {
  const mutex = new Semaphore(1);
  const failing = mutex.run(() => Promise.reject(new Error('EIO')));
  const next = mutex.run(async () => 'next');
  await assert.rejects(failing, /EIO/);
  assert.equal(await next, 'next');
});

test('run() ends the wait for a place at an abort, but never a task', async () => {
  const mutex = new Semaphore(1);
  const { promise, resolve } = Promise.withResolvers<string>();
  const stop = new AbortController();
  const first = mutex.run(() => promise, stop.signal);
  const second = mutex.run(async () => 'never', stop.signal);
  stop.abort(new Error('stopped'));
  await assert.rejects(second, /stopped/);
  await assert.rejects(mutex.run(never, stop.signal), /stopped/);
  const third = mutex.run(async () => 'third');
  resolve('first');
  assert.deepEqual(await Promise.all([first, third]), ['first', 'third']);
});

test('runOrAbandon() leaves a task that hangs, which keeps its place', async () => {
  const mutex = new Semaphore(1);
  await assert.rejects(mutex.runOrAbandon(never, soon()), { name: 'TimeoutError' });
  await assert.rejects(
    mutex.runOrAbandon(async () => 'never', soon()),
    { name: 'TimeoutError' },
  );
});

test('runOrAbandon() gives the place of an abandoned task to the next when it ends', async () => {
  const mutex = new Semaphore(1);
  const { promise, resolve } = Promise.withResolvers<void>();
  await assert.rejects(
    mutex.runOrAbandon(() => promise, soon()),
    { name: 'TimeoutError' },
  );
  const next = mutex.runOrAbandon(async () => 'next', late());
  resolve();
  assert.equal(await next, 'next');
});
