import { setImmediate } from 'node:timers/promises';
import { Turns } from './turns.ts';

/** Turns whose first is taken until `free` is called, with the order in which the others begin. */
function taken() {
  const world = { now: 0, order: [] as string[] };
  const turns = new Turns(() => world.now);
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = turns.run(() => promise);
  const task = (name: string, isPatient: boolean, signal = new AbortController().signal): Promise<void> =>
    turns.run(
      async () => {
        world.order.push(name);
        await setImmediate();
      },
      { isPatient, signal },
    );
  return { world, turns, free: resolve, freed: promise, first, task };
}

test('one task runs at a time, and patient ones let the others go first', async () => {
  const { world, free, first, task } = taken();
  const all = [task('p1', true), task('u1', false), task('p2', true), task('u2', false)];
  free();
  await Promise.all([first, ...all]);
  expect(world.order).toStrictEqual(['u1', 'u2', 'p1', 'p2']);
});

test('a patient task does not wait for ever', async () => {
  const { world, free, first, task } = taken();
  const all = [task('p1', true), task('u1', false)];
  world.now = 10_000;
  free();
  await Promise.all([first, ...all]);
  expect(world.order).toStrictEqual(['p1', 'u1']);
});

test('a task that is stopped while it waits does not begin, and one that fails gives its turn to the next', async () => {
  const { world, turns, free, first, task } = taken();
  const stop = new AbortController();
  const fails = turns.run(() => Promise.reject(new Error('no')));
  const all = Promise.allSettled([fails, task('stopped', false, stop.signal), task('next', false)]);
  stop.abort(new Error('stopped'));
  free();
  await first;
  expect((await all).map(({ status }) => status)).toStrictEqual(['rejected', 'rejected', 'fulfilled']);
  expect(world.order).toStrictEqual(['next']);
  await expect(task('late', false, stop.signal)).rejects.toThrow('stopped');
  expect(await turns.run(async () => 1)).toBe(1);
});

test('a task that is stopped when it has just got its turn does not begin, and the next one does', async () => {
  const { world, free, freed, task } = taken();
  const stop = new AbortController();
  const all = Promise.allSettled([task('stopped', false, stop.signal), task('next', false)]);
  // The abort comes after the turn was passed on, and before the task begins.
  const aborted = freed.then(() => stop.abort(new Error('stopped')));
  free();
  await aborted;
  expect(await all).toMatchObject([{ status: 'rejected', reason: { message: 'stopped' } }, { status: 'fulfilled' }]);
  expect(world.order).toStrictEqual(['next']);
});
