import { Jobs } from './jobs.ts';

const { signal } = new AbortController();
const patient = { patienceMs: 10_000, ended: () => {} };
const hasty = { patienceMs: 0, ended: () => {} };
const owner = (key: string, name = 'a') => ({ key, name });

test('each owner has work of its own, and another owner of the same name does not get its outcome', async () => {
  const jobs = new Jobs<string>({ signal, limitMs: 10_000 });
  const gate = Promise.withResolvers<string>();
  expect(await jobs.run(owner('u-1'), () => gate.promise, hasty)).toBeUndefined();
  expect(await jobs.run(owner('u-2'), async () => 'second', patient)).toStrictEqual({ result: 'second' });
  gate.resolve('first');
  await jobs.idle();
  expect(await jobs.run(owner('u-1'), () => Promise.reject(new Error('not started')), patient)).toStrictEqual({ result: 'first' });
  expect(await jobs.run(owner('u-1'), async () => 'again', patient)).toStrictEqual({ result: 'again' });
});

test('an outcome that nobody asks for is forgotten; work that is under way goes on, and is not begun twice', async () => {
  const jobs = new Jobs<string>({ signal, limitMs: 10_000 });
  const gate = Promise.withResolvers<string>();
  await jobs.run(owner('u-1'), () => gate.promise, hasty);
  await jobs.run(owner('u-2', 'b'), () => gate.promise, hasty);
  jobs.forget('a');
  expect(await jobs.run(owner('u-1'), () => Promise.reject(new Error('not started')), hasty)).toBeUndefined();
  gate.resolve('first');
  await jobs.idle();
  jobs.forget('a', { except: 'u-1' });
  jobs.forget('a');
  expect(await jobs.run(owner('u-1'), async () => 'new', patient)).toStrictEqual({ result: 'new' });
  expect(await jobs.run(owner('u-2', 'b'), async () => 'new', patient)).toStrictEqual({ result: 'first' });
});

test('work that is stopped counts as work until it ends, and its owner may begin again', async () => {
  const jobs = new Jobs<string>({ signal, limitMs: 10_000 });
  const gate = Promise.withResolvers<string>();
  const reasons: unknown[] = [];
  const work = (stop: AbortSignal) => {
    stop.addEventListener('abort', () => reasons.push(stop.reason));
    return gate.promise;
  };
  await jobs.run(owner('u-1'), work, hasty);
  const reason = new Error('over');
  jobs.forget('a', { stop: reason, except: 'u-1' });
  expect(reasons).toStrictEqual([]);
  jobs.forget('a', { stop: reason });
  expect(reasons).toStrictEqual([reason]);
  expect(await jobs.run(owner('u-1'), async () => 'new', patient)).toStrictEqual({ result: 'new' });
  let isIdle = false;
  const idle = jobs.idle().then(() => {
    isIdle = true;
  });
  await new Promise(setImmediate);
  expect(isIdle).toBe(false);
  gate.resolve('late');
  await idle;
});
