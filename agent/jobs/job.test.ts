import { Job } from './job.ts';

const { signal } = new AbortController();
const patient = { patienceMs: 10_000, ended: () => {} };

test('the outcome of work that ends in time is handed out at once, and the next call starts it again', async () => {
  const job = new Job<number>({ signal, limitMs: 10_000 });
  let runs = 0;
  const work = async () => ++runs;
  expect(await job.run(work, patient)).toStrictEqual({ result: 1 });
  expect(await job.run(work, patient)).toStrictEqual({ result: 2 });
});

test('work that is stopped ends with the reason', async () => {
  const job = new Job<void>({ signal, limitMs: 10_000 });
  job.stop(new Error('nothing is under way'));
  const ended = Promise.withResolvers<void>();
  const work = (stop: AbortSignal) => new Promise<void>((_, reject) => stop.addEventListener('abort', () => reject(stop.reason)));
  expect(await job.run(work, { patienceMs: 1, ended: ended.resolve })).toBeUndefined();
  job.stop(new Error('stopped'));
  await ended.promise;
  expect(await job.run(work, patient)).toStrictEqual({ error: new Error('stopped') });
});

test('an error is an outcome', async () => {
  const job = new Job<number>({ signal, limitMs: 10_000 });
  const error = new Error('no');
  expect(await job.run(() => Promise.reject(error), patient)).toStrictEqual({ error });
});

test('work that takes longer goes on, once, and its end is announced once to the last who asked', async () => {
  const job = new Job<string>({ signal, limitMs: 10_000 });
  const gate = Promise.withResolvers<string>();
  const ended: string[] = [];
  const ask = (name: string) => job.run(() => gate.promise, { patienceMs: 1, ended: () => ended.push(name) });
  expect(await ask('first')).toBeUndefined();
  expect(await ask('second')).toBeUndefined();
  expect(job.isBusy).toBe(true);
  gate.resolve('done');
  await job.idle();
  expect([job.isBusy, ended]).toStrictEqual([false, ['second']]);
  expect(await job.run(() => Promise.reject(new Error('not started')), patient)).toStrictEqual({ result: 'done' });
});

test('work ends at its limit, and with the program', async () => {
  for (const [stop, limitMs] of [
    [signal, 1],
    [AbortSignal.abort(new Error('stopping')), 10_000],
  ] as const) {
    const job = new Job<void>({ signal: stop, limitMs });
    const outcome = await job.run(
      (limit) =>
        new Promise((_resolve, reject) => {
          if (limit.aborted) reject(limit.reason);
          limit.addEventListener('abort', () => reject(limit.reason));
        }),
      patient,
    );
    expect(outcome).toHaveProperty('error');
  }
});
