import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { WorkQueue } from './queue.ts';

test('a key that was added twice comes out once', async () => {
  const queue = new WorkQueue();
  queue.add('a');
  queue.add('b');
  queue.add('a');
  expect(queue.length).toBe(2);
  expect(await queue.take()).toBe('a');
  expect(await queue.take()).toBe('b');
  expect(queue.length).toBe(0);
});

test('a key added while it is worked on comes again, after done and not before', async () => {
  const queue = new WorkQueue();
  queue.add('a');
  await queue.take();
  queue.add('a');
  queue.add('a');
  let next: string | undefined;
  const taken = queue.take().then((key) => {
    next = key;
  });
  await turn();
  expect(next).toBeUndefined();
  queue.done('a');
  await taken;
  expect(next).toBe('a');
  queue.done('a');
  expect(queue.length).toBe(0);
});

test('closing lets all who wait go, and nothing comes out any more', async () => {
  const queue = new WorkQueue();
  const waiting = [queue.take(), queue.take()];
  queue.close();
  queue.add('a');
  expect(await Promise.all([...waiting, queue.take()])).toStrictEqual([undefined, undefined, undefined]);
});

test('pauses double from 5 ms to 30 s for each key, and start from the shortest after forget', () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const queue = new WorkQueue();
  const pauses = Array.from({ length: 15 }, () => queue.addRateLimited('a'));
  expect(pauses.slice(0, 5)).toStrictEqual([5, 10, 20, 40, 80]);
  expect(pauses[14]).toBe(30_000);
  expect(queue.addRateLimited('b')).toBe(5);
  queue.forget('a');
  expect(queue.addRateLimited('a')).toBe(5);
  queue.close();
});

test('of several delays the earliest counts', () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const queue = new WorkQueue();
  queue.addAfter('a', 1000);
  queue.addAfter('a', 5000);
  queue.addAfter('a', 100);
  jest.advanceTimersByTime(100);
  expect(queue.length).toBe(1);
  jest.advanceTimersByTime(10_000);
  expect(queue.length).toBe(1);
  queue.close();
});

test('a delay of nothing adds at once', () => {
  const queue = new WorkQueue();
  queue.addAfter('a', 0);
  expect(queue.length).toBe(1);
});

// A model: what is dirty, what is worked on. Whatever happens in whatever order, no key is out twice and none is lost.
test('no key is ever out twice, and none is lost', async () => {
  const step = fc.record({ what: fc.constantFrom('add', 'take', 'done'), key: fc.constantFrom('a', 'b', 'c') });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const queue = new WorkQueue();
      const dirty = new Set<string>();
      const out = new Set<string>();
      let hungry = 0;
      const received = (key: string | undefined): void => {
        if (key === undefined) return;
        hungry--;
        expect(out.has(key), `${key} is out twice`).toBe(false);
        expect(dirty.delete(key), `${key} was not asked for`).toBe(true);
        out.add(key);
      };
      for (const { what, key } of steps) {
        if (what === 'add') {
          dirty.add(key);
          queue.add(key);
        } else if (what === 'take') {
          hungry++;
          void queue.take().then(received);
        } else if (out.delete(key)) queue.done(key);
        await turn();
        const ready = [...dirty].filter((each) => !out.has(each));
        expect(hungry === 0 || ready.length === 0, `${ready.join()} wait although somebody is free`).toBe(true);
        expect(queue.length).toBe(ready.length);
      }
      queue.close();
    }),
    { numRuns: 150 },
  );
});
