import { UnsharedBytes } from './unshared-bytes.ts';

const MiB = 1 << 20;
const PATH = '/pool/u-1.img';

const { signal } = new AbortController();

/** One file that is counted in `takesMs`. */
function world(file = { own: 10 * MiB, taken: 30 * MiB, takesMs: 30_000, parts: 1 }) {
  let [now, counts] = [0, 0];
  const unshared = new UnsharedBytes(
    {
      unshared: async (_, from) => {
        const isLast = from === file.parts - 1;
        if (isLast) counts++;
        now += file.takesMs / file.parts;
        return { bytes: file.own / file.parts, ...(isLast ? {} : { end: from + 1 }) };
      },
      stat: async () => ({ file: true, size: 100 * MiB, blocks: file.taken / 512, device: 1 }),
    },
    () => now,
  );
  const of = () => unshared.of({ path: PATH, size: 100 * MiB, blocks: file.taken / 512 }, signal);
  return { file, unshared, of, wait: (ms: number) => (now += ms), counts: () => counts };
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

test('a file that took long once, because the disk did not answer, is counted again after some minutes', async () => {
  const { file, of, wait, counts } = world();
  file.takesMs = 60_000;
  await of();
  wait(5 * 60_000);
  await of();
  expect(counts()).toBe(2);
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

test('a clone makes all of a file shared at once, also for a count that had begun before', async () => {
  const { file, unshared, of, counts } = world();
  await of();
  file.own = 0;
  unshared.forget(PATH);
  expect(await of()).toBe(0);
  unshared.forget(PATH);
  file.own = 10 * MiB;
  const counted = of();
  unshared.forget(PATH);
  file.own = 0;
  await counted;
  expect([await of(), counts()]).toStrictEqual([0, 4]);
});

test('all of a file is counted, however many extents it has, until the agent ends', async () => {
  const { file, unshared, of } = world();
  file.parts = 5;
  expect(await of()).toBe(10 * MiB);
  expect(await unshared.count(PATH, signal)).toStrictEqual({ bytes: 10 * MiB, isLong: true });
  await expect(unshared.count(PATH, AbortSignal.abort(new Error('ended')))).rejects.toThrow('ended');
});

test('what is written to a long file while it is counted does not count twice', async () => {
  const { file, unshared, of } = world();
  file.parts = 2;
  const counted = unshared.of({ path: PATH, size: 100 * MiB, blocks: (file.taken - 4 * MiB) / 512 }, signal);
  await counted;
  expect(await of()).toBe(10 * MiB);
});

test('a file system that tells a part of no length is not asked for ever', async () => {
  const stat = () => Promise.reject(new Error('no'));
  const unshared = new UnsharedBytes({ unshared: async () => ({ bytes: 1, end: 0 }), stat });
  await expect(unshared.count(PATH, signal)).rejects.toThrow(/ends before it begins/);
});
