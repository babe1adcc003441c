import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '../../../api/quantity.ts';
import { BackendError, type Instant } from '../backend.ts';
import { FileBackend } from './backend.ts';
import { DirectoryState } from './directory-state.ts';
import { type FileSystem, nodeFileSystem } from './file-system.ts';
import { UnsharedBytes } from './unshared-bytes.ts';

const signal = new AbortController().signal;
const AT = new Date('2026-11-28T08:00:00.000Z');
const at: Instant = async (make) => {
  await make();
  return AT;
};
const REQUEST = { uid: 's-1', name: 'snap-a', volumeUID: 'u-1' };
/** Copies in place of clones: for what does not depend on shared blocks. */
const copying: FileSystem = { ...nodeFileSystem, clone: (from, to) => copyFile(from, to) };
/** XFS_SUPER_MAGIC in linux/magic.h. */
const XFS = 0x5846_5342;
const run = promisify(execFile);

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-snapshots-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return join(made, 'pool');
}

const backendIn = (directory: string, fs = copying, hasSnapshots = () => false) =>
  new FileBackend({ pool: 'p1', directory, expected: () => [], hasSnapshots, reserve: '0', fs });

test('a snapshot has the data of its instant, is found by its own UID, and survives its volume', async () => {
  const directory = await folder();
  const backend = backendIn(directory);
  const { name } = await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
  await writeFile(name, Buffer.alloc(MiB, 1));
  const taken = await backend.snapshots.take(REQUEST, at, signal);
  const path = join(directory, 'snap-s-1.img');
  expect(taken).toStrictEqual({ uid: 's-1', snapshot: 'snap-a', name: path, bytes: MiB, createdAt: AT.toISOString() });
  await writeFile(name, Buffer.alloc(MiB, 2));
  await backend.remove('u-1');
  expect((await readFile(path)).every((byte) => byte === 1)).toBe(true);
  const later = backendIn(directory);
  expect(await later.snapshots.find('s-1', signal)).toStrictEqual(taken);
  expect(await later.snapshots.list(signal)).toStrictEqual([taken]);
  expect((await later.measure(signal)).volumes).toStrictEqual([]);
  await later.snapshots.remove('s-1', signal);
  await later.snapshots.remove('s-1', signal);
  expect(await readdir(directory)).toStrictEqual(['.aoe-pool']);
});

test('without an instant there is no snapshot, and half of one does not count', async () => {
  const directory = await folder();
  const backend = backendIn(directory);
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
  const tooLate: Instant = async (make) => {
    await make();
    throw new Error('the hold ended');
  };
  await expect(backend.snapshots.take(REQUEST, tooLate, signal)).rejects.toThrow('the hold ended');
  expect((await readdir(directory)).filter((name) => name.startsWith('snap-'))).toStrictEqual([]);
  await writeFile(join(directory, 'snap-s-1.img.new'), 'half');
  expect(await backend.snapshots.find('s-1', signal)).toBeUndefined();
  expect(await backend.snapshots.take(REQUEST, at, signal)).toMatchObject({ bytes: MiB });
  expect(await readdir(directory)).not.toContain('snap-s-1.img.new');
});

test('a crash before or after each step leaves no snapshot or a whole one', async () => {
  for (const when of ['before', 'after'] as const) {
    for (const step of ['clone', 'syncFile', 'write', 'rename', 'syncDirectory'] as const) {
      const directory = await folder();
      await backendIn(directory).create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
      let ended = false;
      const calls = Object.entries(copying).map(([name, call]) => [
        name,
        async (...args: never[]) => {
          if (ended) throw new Error('ended');
          if (name === step && when === 'before') ended = true;
          if (ended) throw new Error('crash');
          const result = await (call as (...args: never[]) => Promise<unknown>)(...args);
          if (name === step) ended = true;
          if (ended) throw new Error('crash');
          return result;
        },
      ]);
      await expect(backendIn(directory, Object.fromEntries(calls)).snapshots.take(REQUEST, at, signal)).rejects.toThrow();
      const { snapshots } = backendIn(directory);
      const found = await snapshots.find('s-1', signal);
      if (found) expect(found, `${when} ${step}`).toMatchObject({ bytes: MiB, snapshot: 'snap-a', createdAt: AT.toISOString() });
      expect(await snapshots.take(REQUEST, at, signal)).toMatchObject({ bytes: MiB });
      await snapshots.remove('s-1', signal);
      expect((await readdir(directory)).filter((name) => name.startsWith('snap-'))).toStrictEqual([]);
    }
  }
});

test('snapshots are refused when what hosts had not yet written when they were admitted does not fit', async () => {
  const directory = await folder();
  const blocks = new Map<string, number>();
  const statfs = async (path: string) => ({ ...(await nodeFileSystem.statfs(path)), type: XFS });
  const fs: FileSystem = { ...copying, statfs, unshared: async (path) => ({ bytes: blocks.get(path) ?? 0 }) };
  const backend = backendIn(directory, fs);
  const paths: string[] = [];
  for (const uid of ['u-1', 'u-2']) paths.push((await backend.create({ uid, name: uid, bytes: MiB })).name);
  const second = { uid: 's-2', name: 'snap-b', volumeUID: 'u-2' };
  const { free } = await backend.measure(signal);
  /** Hosts freeze their file systems, which writes what they had in memory. */
  const write = (bytes: number): void => {
    for (const path of paths) blocks.set(path, bytes);
  };
  // Each would fit alone.
  write(0);
  const prepared = await backend.snapshots.prepare([REQUEST, second], signal);
  write(Math.floor(free * 0.6));
  await prepared[0]?.make();
  await expect(prepared[1]?.make()).rejects.toMatchObject({ reason: 'PoolFull', message: /more was written to .*u-2\.img/ });
  for (const each of prepared) await each.discard();
  expect((await readdir(directory)).filter((name) => name.startsWith('snap-'))).toStrictEqual([]);
  write(0);
  const later: Instant = async (make) => {
    write(Math.floor(free * 0.6));
    await make();
    return AT;
  };
  expect(await backend.snapshots.take(REQUEST, later, signal)).toMatchObject({ uid: 's-1' });
});

test('a file of very many extents is counted whole before its volume is held, and not at all while it is', async () => {
  const world = { free: 99, counts: 0 };
  const fs: FileSystem = {
    ...copying,
    statfs: async () => ({ blocks: 1000, bavail: world.free, bsize: MiB, type: XFS }),
    unshared: async (_, from) => {
      world.counts++;
      return { bytes: 10 * MiB, ...(from < 9 ? { end: from + 1 } : {}) };
    },
  };
  const backend = backendIn(await folder(), fs);
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 100 * MiB });
  await expect(backend.snapshots.take(REQUEST, at, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: /may need 104857600 bytes, and .* has 103809024 /,
  });
  // 200 MiB are left.
  world.free = 300;
  const during =
    (written: number): Instant =>
    async (make) => {
      const { counts } = world;
      world.free -= written;
      await make();
      expect(world.counts).toBe(counts);
      return AT;
    };
  await expect(backend.snapshots.take(REQUEST, during(201), signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: /more was written/,
  });
  world.free = 300;
  expect(await backend.snapshots.take(REQUEST, during(199), signal)).toMatchObject({ uid: 's-1' });
});

test('what is written to the file system while files of very many extents are prepared together is subtracted once', async () => {
  let bavail = 1000;
  const fs: FileSystem = {
    ...copying,
    statfs: async () => ({ blocks: 10_000, bavail, bsize: MiB, type: XFS }),
    unshared: async (_, from) => ({ bytes: MiB, ...(from === 0 ? { end: 1 } : {}) }),
  };
  const backend = backendIn(await folder(), fs);
  const requests = ['1', '2', '3'].map((each) => ({ uid: `s-${each}`, name: `snap-${each}`, volumeUID: `u-${each}` }));
  for (const { volumeUID: uid } of requests) await backend.create({ uid, name: uid, bytes: 100 * MiB });
  // 700 MiB are left, and the three may need 6 MiB.
  const prepared = await backend.snapshots.prepare(requests, signal);
  bavail -= 500;
  await prepared[0]?.make();
  await prepared[1]?.make();
  bavail -= 201;
  await expect(prepared[2]?.make()).rejects.toMatchObject({
    reason: 'PoolFull',
    message:
      /more was written to the file system of .* while a snapshot of .*u-3\.img was prepared: .* need 210763776 more bytes, and .* has 203423744 /,
  });
  for (const each of prepared) await each.discard();
});

test('a snapshot of a file whose blocks take very long to count is admitted or refused in time, on what is known to be free', async () => {
  let bavail = 150;
  const counting = Promise.withResolvers<{ bytes: number }>();
  const fs: FileSystem = {
    ...copying,
    statfs: async () => ({ blocks: 1000, bavail, bsize: MiB, type: XFS }),
    unshared: () => counting.promise,
  };
  const state = new DirectoryState(new UnsharedBytes(fs, { waitMs: 20 }));
  const backend = new FileBackend({ pool: 'p1', directory: await folder(), expected: () => [], reserve: '0', fs, state });
  for (const uid of ['u-1', 'u-2']) await backend.create({ uid, name: uid, bytes: 100 * MiB });
  await expect(backend.snapshots.take(REQUEST, at, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: /may need 0 bytes, and .* lacks 52428800 that were promised to volumes: .* still being counted for 2 files/,
  });
  bavail = 200;
  expect(await backend.snapshots.take(REQUEST, at, signal)).toMatchObject({ uid: 's-1' });
  counting.resolve({ bytes: 0 });
});

test('the count of a file of very many extents outlasts a snapshot that was given up before it was made', async () => {
  let [bavail, now, counts] = [1000, 0, 0];
  const fs: FileSystem = {
    ...copying,
    statfs: async () => ({ blocks: 10_000, bavail, bsize: MiB, type: XFS }),
    unshared: async (_, from) => {
      now += 10_000;
      counts++;
      return { bytes: MiB, ...(from === 0 ? { end: 1 } : {}) };
    },
  };
  const state = new DirectoryState(new UnsharedBytes(fs, { now: () => now }));
  const backend = new FileBackend({ pool: 'p1', directory: await folder(), expected: () => [], reserve: '0', fs, state });
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 100 * MiB });
  const late: Instant = async (make) => {
    bavail = 0;
    await make();
    return AT;
  };
  await expect(backend.snapshots.take(REQUEST, late, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
  bavail = 1000;
  await backend.measure(signal);
  expect(counts).toBe(2);
});

test('a snapshot of a file that has nothing of its own needs nothing, whatever else fills the file system', async () => {
  const statfs = async () => ({ blocks: 1000, bavail: 50, bsize: MiB, type: XFS });
  const backend = backendIn(await folder(), { ...copying, statfs, unshared: async () => ({ bytes: 0 }) });
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 100 * MiB });
  expect(await backend.snapshots.take(REQUEST, at, signal)).toMatchObject({ uid: 's-1' });
});

test('a retained snapshot keeps its data under another name', async () => {
  const directory = await folder();
  const backend = backendIn(directory);
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
  await backend.snapshots.take(REQUEST, at, signal);
  await backend.snapshots.retain('s-1', signal);
  await backend.snapshots.retain('s-1', signal);
  expect(await backend.snapshots.find('s-1', signal)).toBeUndefined();
  expect(await readdir(directory)).toContain('snap-s-1.img.retained');
});

test('a directory without the snapshots that were taken there is not begun again', async () => {
  const backend = backendIn(await folder(), copying, () => true);
  await expect(backend.snapshots.find('s-1', signal)).rejects.toMatchObject({ reason: 'PoolMissing' });
});

test('a file system without clones says so', async () => {
  const directory = await folder();
  const unsupported = () => Promise.reject(Object.assign(new Error('ENOTSUP: copyfile'), { code: 'ENOTSUP', syscall: 'copyfile' }));
  const statfs = async (path: string) => ({ ...(await nodeFileSystem.statfs(path)), type: 0x01021994 });
  const backend = backendIn(directory, { ...nodeFileSystem, statfs, clone: unsupported });
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
  expect(await backend.snapshots.problem()).toMatch(/XFS with reflink=1/);
  await expect(backend.snapshots.take(REQUEST, at, signal)).rejects.toMatchObject({ reason: 'SnapshotsUnsupported' });
  expect(await readdir(directory)).toStrictEqual(expect.arrayContaining(['.aoe-pool', 'u-1.img']));
  expect(await readdir(directory)).toHaveLength(3);
  const never = () => Promise.reject(new Error('ext4 is known to have none'));
  const onExt4 = backendIn(directory, {
    ...nodeFileSystem,
    clone: never,
    statfs: async (path) => ({ ...(await statfs(path)), type: 0xef53 }),
  });
  expect(await onExt4.snapshots.problem()).toMatch(/ext4 cannot/);
});

test('a disk that does not answer for a while does not say that there are no clones', async () => {
  const late = new BackendError('PoolNotReady', 'the disk does not answer');
  const statfs = async (path: string) => ({ ...(await nodeFileSystem.statfs(path)), type: XFS });
  const backend = backendIn(await folder(), { ...copying, statfs, clone: () => Promise.reject(late) });
  await expect(backend.snapshots.problem()).rejects.toBe(late);
});

test('a volume is made of a snapshot at the size that is wanted, whole or not at all, and is a volume like others', async () => {
  for (const step of ['none', 'clone', 'extend', 'write', 'rename'] as const) {
    const directory = await folder();
    const backend = backendIn(directory);
    const { name } = await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: MiB });
    await writeFile(name, Buffer.alloc(MiB, 1));
    await backend.snapshots.take(REQUEST, at, signal);
    const request = { uid: 'u-2', name: 'pvc-2', bytes: 2 * MiB };
    if (step !== 'none') {
      const crashing = { ...copying, [step]: () => Promise.reject(new Error('crash')) };
      await expect(backendIn(directory, crashing).snapshots.restore(request, 's-1', signal)).rejects.toThrow('crash');
      expect(await backend.open('u-2'), step).toBeUndefined();
    }
    expect(await backend.snapshots.restore(request, 'no-such', signal)).toBe(false);
    expect(await backend.snapshots.restore(request, 's-1', signal)).toBe(true);
    expect(await backend.snapshots.restore(request, 's-1', signal)).toBe(true);
    const path = join(directory, 'u-2.img');
    expect(await backend.open('u-2')).toStrictEqual({ uid: 'u-2', name: path, bytes: 2 * MiB });
    const data = await readFile(path);
    expect([data[0], data[MiB - 1], data[MiB]]).toStrictEqual([1, 1, 0]);
    const { volumes } = await backend.measure(signal);
    expect(volumes.map(({ uid, volume }) => [uid, volume])).toStrictEqual([
      ['u-1', 'pvc-1'],
      ['u-2', 'pvc-2'],
    ]);
  }
});

/** An XFS of its own, in a file; undefined where it cannot be made or mounted. */
async function xfs(): Promise<string | undefined> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-xfs-'));
  const [image, mount] = [join(made, 'image'), join(made, 'mount')];
  try {
    await writeFile(image, '');
    await truncate(image, 400 * MiB);
    await run('mkfs.xfs', ['-q', image]);
    await nodeFileSystem.mkdir(mount);
    await run('mount', ['-o', 'loop', image, mount]);
  } catch {
    await rm(made, { recursive: true, force: true });
    return undefined;
  }
  onTestFinished(async () => {
    await run('umount', [mount]);
    await rm(made, { recursive: true, force: true });
  });
  return join(mount, 'pool');
}

test('on a real XFS a snapshot shares its blocks, costs nothing at first, and is refused when the file system could fill', async () => {
  const directory = await xfs();
  if (!directory) return console.log('skipped: XFS cannot be mounted here');
  const backend = backendIn(directory, nodeFileSystem);
  expect(await backend.snapshots.problem()).toBeUndefined();
  const { name } = await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 64 * MiB });
  const write = async (byte: number): Promise<void> => {
    const file = await open(name, 'r+');
    for (let each = 0; each < 64; each++) await file.write(Buffer.alloc(MiB, byte), 0, MiB, each * MiB);
    await file.sync();
    await file.close();
  };
  await write(1);
  const before = await backend.measure(signal);
  await backend.snapshots.take(REQUEST, at, signal);
  const after = await backend.measure(signal);
  // The volume may have to write all of its blocks again, and the snapshot keeps the present ones.
  expect(before.free - after.free).toBeGreaterThanOrEqual(63 * MiB);
  expect(before.free - after.free).toBeLessThanOrEqual(66 * MiB);
  await write(2);
  const rewritten = await backend.measure(signal);
  expect(Math.abs(rewritten.free - after.free), 'that was counted before').toBeLessThanOrEqual(4 * MiB);
  expect((await readFile(join(directory, 'snap-s-1.img'))).subarray(0, MiB).every((byte) => byte === 1)).toBe(true);
  await backend.create({ uid: 'u-2', name: 'pvc-2', bytes: rewritten.free - 32 * MiB });
  const full = backend.snapshots.take({ ...REQUEST, uid: 's-2' }, at, signal);
  await expect(full).rejects.toMatchObject({ reason: 'PoolFull', message: /may need 67108864 bytes/ });
}, 60_000);
