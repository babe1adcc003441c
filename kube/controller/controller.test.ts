import { setTimeout as delay } from 'node:timers/promises';
import { KubeError } from '../client/error.ts';
import type { KubeObject } from '../client/types.ts';
import type { Change, Informer } from '../informer/informer.ts';
import { Controller, keysOf } from './controller.ts';
import type { ReconcileResult } from './metrics.ts';

class FakeLog {
  readonly lines: { level: string; keys: Record<string, unknown>; message: string }[] = [];
  #note(level: string) {
    return (keys: object, message: string) => void this.lines.push({ level, keys: keys as Record<string, unknown>, message });
  }
  debug = this.#note('debug');
  info = this.#note('info');
  warn = this.#note('warn');
  error = this.#note('error');
}

/** An informer whose changes the test makes. */
class FakeInformer {
  readonly sync = Promise.withResolvers<void>();
  readonly synced = this.sync.promise;
  objects: KubeObject[] = [];
  tell: (change: Change<KubeObject>) => void = () => {};
  list(): KubeObject[] {
    return this.objects;
  }
  subscribe(listener: (change: Change<KubeObject>) => void): () => void {
    this.tell = listener;
    return () => {};
  }
  get informer(): Informer<KubeObject> {
    return this as unknown as Informer<KubeObject>;
  }
}

const named = (name: string, labels: Record<string, string> = {}): KubeObject => ({ metadata: { name, labels } });

/** A controller that is to stop when it has reconciled two keys. */
function untilTwo() {
  const stop = new AbortController();
  const seen: string[] = [];
  const controller = new Controller({
    name: 'test',
    log: new FakeLog(),
    reconcile: async (key) => {
      seen.push(key);
      if (seen.length === 2) stop.abort();
    },
  });
  return { controller, seen, stop };
}

test('begins when its informers are synced, with every object they know', async () => {
  const source = new FakeInformer();
  const { controller, seen, stop } = untilTwo();
  controller.watch(source.informer, { keys: ({ object }) => [object.metadata.name] });
  const run = controller.run(stop.signal);
  source.tell({ type: 'applied', object: named('early') });
  await delay(5);
  expect(seen).toStrictEqual([]);
  source.objects = [named('early'), named('known')];
  source.sync.resolve();
  await run;
  expect(seen).toStrictEqual(['early', 'known']);
});

test('both the old and the new object are mapped to keys', async () => {
  const source = new FakeInformer();
  source.sync.resolve();
  const { controller, seen, stop } = untilTwo();
  const run = controller.watch(source.informer, { keys: keysOf(({ metadata }) => [metadata.labels?.pool ?? '']) }).run(stop.signal);
  source.tell({ type: 'applied', object: named('a', { pool: 'new' }), previous: named('a', { pool: 'old' }) });
  await run;
  expect(seen.sort()).toStrictEqual(['new', 'old']);
});

test('a key is never worked on twice at once, and different keys are, up to the limit', async () => {
  const stop = new AbortController();
  const active = new Map<string, number>();
  let most = 0;
  let calls = 0;
  const controller = new Controller({
    name: 'test',
    log: new FakeLog(),
    concurrency: 3,
    reconcile: async (key) => {
      active.set(key, (active.get(key) ?? 0) + 1);
      expect(active.get(key)).toBe(1);
      most = Math.max(
        most,
        [...active.values()].reduce((sum, each) => sum + each, 0),
      );
      controller.enqueue(key);
      await delay(2);
      active.set(key, 0);
      if (++calls === 30) stop.abort();
    },
  });
  for (const key of ['a', 'b', 'c', 'd', 'e']) controller.enqueue(key);
  await controller.run(stop.signal);
  expect(most).toBe(3);
});

test('a failure is tried again after a pause and counted; a conflict is not worth a warning', async () => {
  const stop = new AbortController();
  const log = new FakeLog();
  const results: ReconcileResult[] = [];
  const counts = { added: 0, retried: 0, taken: 0, concurrency: 0 };
  let calls = 0;
  const controller = new Controller({
    name: 'test',
    log,
    concurrency: 2,
    metrics: {
      started: (_name, concurrency) => {
        counts.concurrency = concurrency;
      },
      added: () => {
        counts.added++;
      },
      retried: () => {
        counts.retried++;
      },
      taken: () => {
        counts.taken++;
      },
      reconciled: (_name, result) => void results.push(result),
    },
    reconcile: async () => {
      calls++;
      if (calls === 1) throw new Error('broken');
      if (calls === 2) throw new KubeError(409, 'Conflict', 'changed');
      if (calls === 3) return { requeueAfterMs: 1 };
      stop.abort();
      return undefined;
    },
  });
  controller.enqueue('a');
  await controller.run(stop.signal);
  expect(results).toStrictEqual(['error', 'error', 'requeue_after', 'success']);
  expect(counts).toStrictEqual({ added: 4, retried: 2, taken: 4, concurrency: 2 });
  expect(log.lines.filter(({ message }) => message === 'reconcile failed').map(({ level, keys }) => [level, keys.retryMs])).toStrictEqual([
    ['warn', 5],
    ['debug', 10],
  ]);
});

test('a change that `when` refuses leads to nothing, whether it is seen or was there before', async () => {
  const source = new FakeInformer();
  source.objects = [named('known', { skip: 'yes' }), named('wanted')];
  source.sync.resolve();
  const stop = new AbortController();
  const seen: string[] = [];
  const run = new Controller({
    name: 'test',
    log: new FakeLog(),
    reconcile: async (key) => {
      seen.push(key);
      if (key === 'last') stop.abort();
    },
  })
    .watch(source.informer, { when: ({ object }) => !object.metadata.labels?.skip, keys: ({ object }) => [object.metadata.name] })
    .run(stop.signal);
  source.tell({ type: 'applied', object: named('changed', { skip: 'yes' }) });
  await delay(5);
  source.tell({ type: 'applied', object: named('last') });
  await run;
  expect(seen).toStrictEqual(['wanted', 'last']);
});

test('a call that hangs is ended at its limit', async () => {
  const stop = new AbortController();
  const log = new FakeLog();
  let calls = 0;
  const controller = new Controller({
    name: 'test',
    log,
    timeoutMs: 10,
    reconcile: async (_key, signal) => {
      if (++calls === 2) return stop.abort();
      await delay(60_000, undefined, { signal });
    },
  });
  controller.enqueue('a');
  await controller.run(stop.signal);
  expect(calls).toBe(2);
});

test('run ends after the calls under way have, and before its informers are synced, too', async () => {
  const stop = new AbortController();
  let ended = false;
  const controller = new Controller({
    name: 'test',
    log: new FakeLog(),
    reconcile: async () => {
      setImmediate(() => stop.abort());
      await delay(20);
      ended = true;
    },
  });
  controller.enqueue('a');
  await controller.run(stop.signal);
  expect(ended).toBe(true);

  const early = new AbortController();
  const waiting = new Controller({ name: 'test', log: new FakeLog(), reconcile: async () => {} })
    .needs(new FakeInformer())
    .run(early.signal);
  early.abort();
  await waiting;
});

test('it has hung when all its calls of reconcile go on though their time is over, and a signal did not end them', async () => {
  const clock = { time: 0, now: () => clock.time };
  const stop = new AbortController();
  const ends = new Map<string, () => void>();
  const reconcile = (key: string) => new Promise<void>((resolve) => ends.set(key, resolve));
  const controller = new Controller({ name: 'test', log: new FakeLog(), concurrency: 2, timeoutMs: 600_000, clock, reconcile });
  const run = controller.run(stop.signal);
  controller.enqueue('a');
  while (!ends.has('a')) await delay(1);
  clock.time = 100_000;
  controller.enqueue('b');
  while (!ends.has('b')) await delay(1);
  clock.time = 660_000;
  expect(controller.hung, 'b still has time').toBeUndefined();
  clock.time = 760_000;
  expect(controller.hung).toBe('controller test is stuck: the reconciles of a, b have been running for more than 660 s');
  ends.get('b')?.();
  await delay(1);
  expect(controller.hung, 'there is a worker again').toBeUndefined();
  ends.get('a')?.();
  stop.abort();
  await run;
});
