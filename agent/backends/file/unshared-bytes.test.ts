import { BackendError } from '../backend.ts';
import { UnsharedBytes } from './unshared-bytes.ts';

const MiB = 1 << 20;
const PATH = '/pool/u-1.img';
const OTHER = '/pool/u-2.img';

const { signal } = new AbortController();

/** Files that are counted in `takesMs` each. Those of paths in `blocked` are counted only when their promise ends. */
function world(file = { own: 10 * MiB, taken: 30 * MiB, takesMs: 30_000, parts: 1 }, waitMs?: number) {
  let [now, counts] = [0, 0];
  const blocked = new Map<string, Promise<unknown>>();
  const unshared = new UnsharedBytes(
    {
      unshared: async (path, from) => {
        await blocked.get(path);
        const isLast = from === file.parts - 1;
        if (isLast) counts++;
        now += file.takesMs / file.parts;
        return { bytes: file.own / file.parts, ...(isLast ? {} : { end: from + 1 }) };
      },
      stat: async () => ({ file: true, size: 100 * MiB, blocks: file.taken / 512 }),
    },
    { now: () => now, ...(waitMs === undefined ? {} : { waitMs }) },
  );
  const of = async (path = PATH) => (await unshared.of([{ path }], signal)).get(path)?.bytes;
  /** Until everything that does not wait for `blocked` is done. */
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  /** Begins a count that reads nothing until `end` is called; that gives what the count found. */
  const begin = async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    blocked.set(PATH, promise);
    const counted = of();
    await settle();
    const end = () => {
      resolve();
      return counted;
    };
    return { end };
  };
  return { file, unshared, blocked, of, settle, begin, wait: (ms: number) => (now += ms), counts: () => counts };
}

test('a file is counted for a small part of the time only, however long that takes', async () => {
  for (const takesMs of [1, 10_000]) {
    const { file, of, wait, counts } = world();
    file.takesMs = takesMs;
    await of();
    wait(19 * takesMs);
    expect([await of(), counts()]).toStrictEqual([10 * MiB, 1]);
    wait(takesMs);
    expect([await of(), counts()]).toStrictEqual([10 * MiB, 2]);
  }
});

test('many files together are counted for a small part of the time only, also when one pass takes longer than a count is kept', async () => {
  const { file, unshared, wait, counts } = world();
  file.takesMs = 40_000;
  const files = Array.from({ length: 10 }, (_, each) => ({ path: `/pool/u-${each}.img` }));
  await unshared.of(files, signal);
  // The first was counted six minutes ago.
  await unshared.of(files, signal);
  expect(counts()).toBe(10);
  wait(2 * 400_000);
  await unshared.of(files, signal);
  expect(counts()).toBe(20);
});

test('a file that took long once, because the disk did not answer, is counted again after some minutes', async () => {
  const { file, of, wait, counts } = world();
  file.takesMs = 60_000;
  await of();
  wait(5 * 60_000);
  await of();
  expect(counts()).toBe(2);
});

test('who asks waits for a moment only, and gets the last count, or none before the first: it goes on in the background', async () => {
  const { file, unshared, blocked, of, settle, wait } = world(undefined, 20);
  const first = Promise.withResolvers<void>();
  blocked.set(PATH, first.promise);
  expect(await of()).toBeUndefined();
  expect(await of()).toBeUndefined();
  first.resolve();
  await settle();
  expect(await of()).toBe(10 * MiB);
  const second = Promise.withResolvers<void>();
  blocked.set(PATH, second.promise);
  wait(600_000);
  file.own = 20 * MiB;
  expect(await of()).toBe(10 * MiB);
  await expect(unshared.of([{ path: PATH }], AbortSignal.abort(new Error('ended')))).rejects.toThrow('ended');
  second.resolve();
  await settle();
  expect(await of()).toBe(20 * MiB);
});

test('files of a directory are counted one after the other, and a disk that does not answer holds up no other one', async () => {
  const { of, blocked, settle } = world(undefined, 20);
  const hung = Promise.withResolvers<void>();
  blocked.set(PATH, hung.promise);
  expect(await of()).toBeUndefined();
  expect(await of(OTHER)).toBeUndefined();
  expect(await of('/disk2/u-3.img')).toBe(10 * MiB);
  hung.resolve();
  await settle();
  expect([await of(), await of(OTHER)]).toStrictEqual([10 * MiB, 10 * MiB]);
});

test('what a file has taken or given back since it was counted is added, and never too much', async () => {
  const { file, of } = world();
  await of();
  // Written where nothing was.
  file.taken += 5 * MiB;
  expect(await of()).toBe(15 * MiB);
  // Discarded, as by fstrim: what was free meanwhile must not count twice.
  file.taken -= 12 * MiB;
  expect(await of()).toBe(3 * MiB);
  file.taken = 0;
  expect(await of()).toBe(0);
});

test('what is written to a file while it is counted does not count twice, whether it is read in one part or in many', async () => {
  for (const parts of [1, 2]) {
    const { file, begin } = world();
    file.parts = parts;
    const { end } = await begin();
    file.taken += 4 * MiB;
    file.own += 4 * MiB;
    expect(await end(), `${parts} parts`).toBe(14 * MiB);
  }
});

test('a clone makes all of a file shared at once, also for a count that had begun before', async () => {
  const { file, unshared, of, begin } = world();
  await of();
  unshared.forget(PATH);
  file.own = 0;
  expect(await of()).toBe(0);
  unshared.forget(PATH);
  file.own = 10 * MiB;
  const { end } = await begin();
  unshared.forget(PATH);
  expect(await end()).toBeUndefined();
  file.own = 0;
  expect(await of()).toBe(0);
});

test('the count of a file that was forgotten ends at its next part', async () => {
  const { file, unshared, begin, counts } = world();
  file.parts = 5;
  const { end } = await begin();
  unshared.forget(PATH);
  expect([await end(), counts()]).toStrictEqual([undefined, 0]);
});

test('what must be of now is counted again when somebody asks, unless that takes long', async () => {
  for (const [takesMs, parts, expected] of [
    [1_000, 1, 2],
    [1_001, 1, 1],
    [10, 2, 1],
  ] as const) {
    const { file, unshared, of, counts } = world();
    Object.assign(file, { takesMs, parts });
    await of();
    unshared.renew(PATH);
    await of();
    expect(counts()).toBe(expected);
    expect((await unshared.of([{ path: PATH }], signal)).get(PATH)?.isShort).toBe(expected === 2);
  }
});

test('a file that could not be counted again in time does not pass for one that was', async () => {
  const { file, unshared, blocked, of } = world(undefined, 20);
  file.takesMs = 10;
  await of();
  const hung = Promise.withResolvers<void>();
  blocked.set(PATH, hung.promise);
  unshared.renew(PATH);
  expect((await unshared.of([{ path: PATH }], signal)).get(PATH)).toStrictEqual({ bytes: 10 * MiB, isShort: false });
  hung.resolve();
});

test('all of a file is its own where the file system does not tell, and none of it is known when it cannot be read', async () => {
  const stat = async () => ({ file: true, size: 100 * MiB, blocks: 2048 });
  const own = async (unshared: () => Promise<{ bytes: number; end?: number }>) =>
    (await new UnsharedBytes({ unshared, stat }).of([{ path: PATH }], signal)).get(PATH);
  expect(await own(() => Promise.reject(new Error('no FIEMAP')))).toStrictEqual({ bytes: MiB, isShort: false });
  // One that tells a part of no length is not asked for ever.
  expect(await own(async () => ({ bytes: 1, end: 0 }))).toStrictEqual({ bytes: MiB, isShort: false });
  expect(await own(() => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })))).toBeUndefined();
  expect(await own(() => Promise.reject(new BackendError('PoolNotReady', 'the disk does not answer')))).toBeUndefined();
});

test('what was counted holds while the disk does not answer, and is counted again when it does', async () => {
  const { file, of, blocked, wait, counts } = world();
  await of();
  wait(1_000_000);
  file.own = 5 * MiB;
  const late = Promise.reject(new BackendError('PoolNotReady', 'the disk does not answer'));
  late.catch(() => {});
  blocked.set(PATH, late);
  expect([await of(), await of(), counts()]).toStrictEqual([10 * MiB, 10 * MiB, 1]);
  blocked.clear();
  expect([await of(), counts()]).toStrictEqual([5 * MiB, 2]);
});

test('a file that cannot be looked at now, because its disk does not answer, does not pass for one that was not counted', async () => {
  let isLate = false;
  const stat = async () => {
    if (isLate) throw new BackendError('PoolNotReady', 'the disk does not answer');
    return { file: true, size: 100 * MiB, blocks: 2048 };
  };
  const unshared = new UnsharedBytes({ unshared: async () => ({ bytes: MiB }), stat });
  await unshared.of([{ path: PATH }], signal);
  isLate = true;
  await expect(unshared.of([{ path: PATH }], signal)).rejects.toThrow('the disk does not answer');
});
