import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { crashing } from '../../testing/crashing-file-system.ts';
import { FileBackend } from './backend.ts';
import { DirectoryState } from './directory-state.ts';
import { nodeFileSystem } from './file-system.ts';
import { UnsharedBytes } from './unshared-bytes.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 3 * MiB + 1 };

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-file-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return join(made, 'pool');
}

const open = (directory: string, { expected = [] as string[], fs = nodeFileSystem } = {}): FileBackend =>
  new FileBackend({ pool: 'p1', directory, expected: () => expected, reserve: '0', fs });

test('a file is made sparse, found again, and removed', async () => {
  const directory = await folder();
  const made = await open(directory).create(request);
  expect(made).toStrictEqual({ uid: 'u-1', name: join(directory, 'u-1.img'), bytes: 4 * MiB });
  const { size, blocks, mode } = await stat(made.name);
  expect(size).toBe(4 * MiB);
  expect(blocks * 512).toBeLessThan(MiB);
  expect(mode & 0o777).toBe(0o600);
  expect(await open(directory).open('u-1')).toStrictEqual(made);
  expect((await open(directory).measure(signal)).volumes).toStrictEqual([{ ...made, volume: 'pvc-1' }]);
  await open(directory).remove('u-1');
  await open(directory).remove('u-1');
  expect((await open(directory).measure(signal)).volumes).toStrictEqual([]);
});

test('what is to be removed or retained stays when that was ended before the disk answered', async () => {
  for (const what of ['volume', 'snapshot'] as const) {
    for (const end of ['remove', 'retain'] as const) {
      const directory = await folder();
      const made = await open(directory).create(request);
      const { snapshots } = open(directory, { fs: { ...nodeFileSystem, clone: (from, to) => copyFile(from, to) } });
      const at = async (make: () => Promise<void>): Promise<Date> => {
        await make();
        return new Date(0);
      };
      await snapshots.take({ uid: 's-1', name: 's', volumeUID: 'u-1' }, at, signal);
      const before = await readdir(directory);
      const stop = new AbortController();
      const read = async (path: string): Promise<string> => {
        const text = await nodeFileSystem.read(path);
        stop.abort(new Error('the agent ends'));
        return text;
      };
      const backend = open(directory, { fs: { ...nodeFileSystem, read } });
      const ended = what === 'volume' ? backend[end]('u-1', stop.signal) : backend.snapshots[end]('s-1', stop.signal);
      await expect(ended).rejects.toThrow('the agent ends');
      expect(await readdir(directory)).toStrictEqual(before);
      expect(await open(directory).find('u-1')).toStrictEqual(made);
    }
  }
});

test('data of an earlier AoEVolume of the same name is found by the record beside it, until it is removed or retained', async () => {
  for (const end of ['remove', 'retain'] as const) {
    const directory = await folder();
    const again = { uid: 'u-2', name: 'pvc-1' };
    const made = await open(directory).create(request);
    await open(directory).create({ uid: 'u-3', name: 'pvc-3', bytes: MiB });
    expect(await open(directory).namesakes(again, signal)).toStrictEqual([{ ...made, volume: 'pvc-1' }]);
    expect(await open(directory).namesakes(request, signal), 'its own').toStrictEqual([]);
    const backend = open(directory);
    await backend.namesakes(again, signal);
    await backend[end]('u-1');
    expect(await backend.namesakes(again, signal)).toStrictEqual([]);
  }
});

test('a file without a record, made by an earlier version, is served and measured, and has no name', async () => {
  const directory = await folder();
  const made = await open(directory).create(request);
  await rm(join(directory, 'u-1.img.volume'));
  expect(await open(directory).open('u-1')).toStrictEqual(made);
  expect((await open(directory).measure(signal)).volumes).toStrictEqual([made]);
  expect(await open(directory).namesakes({ uid: 'u-2', name: 'pvc-1' }, signal)).toStrictEqual([]);
});

test('after how many moves a file was served is kept beside it, whole or not at all, and removed with it', async () => {
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at++) {
      const directory = await folder();
      await open(directory).create(request);
      await open(directory).noteMoves('u-1', 11);
      const { fs, steps } = crashing(at, when);
      await open(directory, { fs })
        .noteMoves('u-1', 12)
        .catch(() => {});
      const moves = (await open(directory).open('u-1'))?.moves;
      expect([11, 12]).toContain(moves);
      await open(directory).noteMoves('u-1', 12);
      expect((await open(directory).measure(signal)).volumes).toMatchObject([{ uid: 'u-1', volume: 'pvc-1', moves: 12 }]);
      await open(directory).remove('u-1');
      expect((await readdir(directory)).filter((name) => name.startsWith('u-1') && !name.endsWith('.new'))).toStrictEqual([]);
      if (steps() < at) break;
    }
  }
});

test('after a crash at any step of creating or removing, repeating it completes it', async () => {
  for (const work of ['create', 'remove', 'retain'] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; ; at++) {
        const directory = await folder();
        if (work !== 'create') await open(directory).create(request);
        const { fs, steps } = crashing(at, when);
        const backend = open(directory, { fs });
        await (work === 'create' ? backend.create(request) : backend[work]('u-1')).catch(() => {});
        for (const { bytes } of (await open(directory).measure(signal)).volumes) expect(bytes).toBe(4 * MiB);
        if (work === 'create') {
          await open(directory).create(request);
          expect((await open(directory).measure(signal)).volumes).toHaveLength(1);
          await writeFile(join(directory, 'u-1.img'), 'data', { flag: 'r+' });
          await open(directory).create(request);
          expect((await stat(join(directory, 'u-1.img'))).blocks, 'data stays').toBeGreaterThan(0);
        } else {
          await open(directory)[work]('u-1');
          expect((await open(directory).measure(signal)).volumes).toStrictEqual([]);
        }
        expect(await readdir(directory)).not.toContain('u-1.img.new');
        if (steps() < at) break;
      }
    }
  }
});

test('a file grows with its data, stays sparse, and is never cut', async () => {
  const directory = await folder();
  const made = await open(directory).create(request);
  await writeFile(made.name, 'data', { flag: 'r+' });
  expect(await open(directory).growth.grow('u-1', 9 * MiB - 5, signal)).toStrictEqual({ ...made, bytes: 9 * MiB });
  const { size, blocks } = await stat(made.name);
  expect([size, blocks * 512 < MiB]).toStrictEqual([9 * MiB, true]);
  expect((await readFile(made.name)).subarray(0, 5).toString()).toBe('data\0');
  expect((await open(directory).growth.grow('u-1', MiB, signal)).bytes).toBe(9 * MiB);
  await nodeFileSystem.extend(made.name, MiB);
  expect((await stat(made.name)).size).toBe(9 * MiB);
  await expect(open(directory).growth.grow('u-1', 2 ** 60, signal)).rejects.toMatchObject({ name: 'BackendError' });
  await expect(open(directory).growth.grow('u-2', MiB, signal)).rejects.toMatchObject({ name: 'BackendError' });
});

test('a directory without its mark, where volumes are expected, is not used', async () => {
  const directory = await folder();
  const { ready, message } = await open(directory, { expected: ['u-1'] }).measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/is its file system mounted\?/);
  await expect(open(directory, { expected: ['u-1'] }).create(request)).rejects.toMatchObject({ reason: 'PoolMissing' });
  await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a directory with the mark and none of its volumes is the wrong side of a mount point', async () => {
  const directory = await folder();
  await open(directory).create(request);
  await open(directory).remove('u-1');
  const backend = open(directory, { expected: ['u-8', 'u-9'] });
  const { ready, message } = await backend.measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/has none of the 2 volumes that were made there: is its file system mounted\?/);
  await expect(backend.create(request)).rejects.toMatchObject({ reason: 'PoolMissing' });
  await expect(backend.open('u-9')).rejects.toMatchObject({ reason: 'PoolMissing' });
  // The AoEVolume of one that is lost can be deleted all the same.
  await open(directory, { expected: ['u-8', 'u-9'] }).remove('u-9');
  // One is enough: another may be lost.
  await open(directory).create({ ...request, uid: 'u-9' });
  expect((await backend.measure(signal)).ready).toBe(true);
  expect(await backend.open('u-8')).toBeUndefined();
});

test('the last volume of a pool is not missed when it was removed here, or given away', async () => {
  for (const how of ['remove', 'retain'] as const) {
    const made = await folder();
    await open(made).create(request);
    const pool = open(made, { expected: ['u-1'] });
    await pool[how]('u-1');
    expect((await pool.measure(signal)).ready).toBe(true);
  }
});

test('no pool is begun where the disk is not mounted, unless its directory was made on purpose', async () => {
  const mountPoint = await mkdtemp(join(tmpdir(), 'aoe-file-'));
  onTestFinished(() => rm(mountPoint, { recursive: true, force: true }));
  let mounted = false;
  const fs = { ...nodeFileSystem, isMountPoint: async () => mounted };
  const begin = (directory: string) =>
    new FileBackend({ pool: 'p1', directory, expected: () => [], mountPoints: ['/srv', mountPoint], fs });
  for (const directory of [join(mountPoint, 'pool'), mountPoint]) {
    const { ready, message } = await begin(directory).measure(signal);
    expect(ready).toBe(false);
    expect(message ?? '').toMatch(new RegExp(`no disk is mounted at ${mountPoint} on this node`));
    await expect(begin(directory).create(request)).rejects.toMatchObject({ reason: 'PoolMissing' });
    expect(await readdir(mountPoint)).toStrictEqual([]);
  }
  await mkdir(join(mountPoint, 'on-purpose'));
  expect((await begin(join(mountPoint, 'on-purpose')).measure(signal)).ready).toBe(true);
  mounted = true;
  expect((await begin(join(mountPoint, 'pool')).measure(signal)).ready).toBe(true);
  mounted = false;
  expect((await begin(join(mountPoint, 'pool')).measure(signal)).ready, 'a pool that was begun goes on').toBe(true);
});

test('the top of a file system is a mount point, a directory of one is not', async () => {
  expect(await nodeFileSystem.isMountPoint('/proc')).toBe(true);
  expect(await nodeFileSystem.isMountPoint(await folder())).toBe(false);
});

test('a directory of another pool is not used', async () => {
  const directory = await folder();
  await open(directory).create(request);
  const other = new FileBackend({ pool: 'p2', directory, expected: () => [] });
  await expect(other.create(request)).rejects.toThrow(/belongs to pool p1/);
});

test('a directory that cannot be made is a pool that is not ready', async () => {
  const { ready, message } = await open('/proc/nope/pool').measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/cannot be made/);
});

test('the pool counts what is free and what its files have taken', async () => {
  // Whatever this machine has free.
  const backend = new FileBackend({ pool: 'p1', directory: await folder(), expected: () => [], reserve: '0%' });
  const before = await backend.measure(signal);
  await backend.create({ ...request, bytes: 64 * MiB });
  const after = await backend.measure(signal);
  expect(after.granularity).toBe(MiB);
  expect(Math.abs(after.size - before.size)).toBeLessThan(512 * MiB);
  expect(after.free).toBe(after.size - 64 * MiB);
});

test('a measurement reads the size of each file once', async () => {
  const directory = await folder();
  const read: string[] = [];
  const stat = (path: string) => {
    read.push(path);
    return nodeFileSystem.stat(path);
  };
  const ext4 = async (path: string) => ({ ...(await nodeFileSystem.statfs(path)), type: 0xef53 });
  const fs = { ...nodeFileSystem, stat, statfs: ext4 };
  await open(directory).create(request);
  await open(directory, { fs }).measure(signal);
  expect(read.filter((path) => path.endsWith('.img'))).toStrictEqual([join(directory, 'u-1.img')]);
});

test('a volume is found without a look at the space of the pool or at other volumes', async () => {
  const directory = await folder();
  const made = await open(directory).create({ ...request, copy: 'snap-uid/0a1b' });
  await open(directory).create({ ...request, uid: 'u-2' });
  const never = () => Promise.reject(new Error('not to find a volume'));
  const fs = { ...nodeFileSystem, statfs: never, unshared: never, readdir: never };
  const looked: string[] = [];
  const stat = (path: string) => {
    looked.push(path);
    return nodeFileSystem.stat(path);
  };
  const backend = open(directory, { fs: { ...fs, stat } });
  expect(await backend.find('u-1')).toStrictEqual(made);
  expect(looked).toStrictEqual([made.name]);
  expect(await backend.find('u-3')).toBeUndefined();
  await expect(open(await folder(), { expected: ['u-1'] }).find('u-1'), 'not here').rejects.toMatchObject({ reason: 'PoolMissing' });
});

test('a size beyond the file system is refused', async () => {
  await expect(open(await folder()).create({ ...request, bytes: 2 ** 60 })).rejects.toMatchObject({ name: 'BackendError' });
});

test('a volume that was removed is not expected any more, also when the settings of the pool change', async () => {
  const directory = await folder();
  const state = new DirectoryState(new UnsharedBytes(nodeFileSystem));
  const [before, after] = ['0', '10%'].map(
    (reserve) => new FileBackend({ pool: 'p1', directory, expected: () => ['u-1'], reserve, state }),
  ) as [FileBackend, FileBackend];
  await open(directory).create(request);
  await before.remove('u-1');
  expect((await after.measure(signal)).ready).toBe(true);
});

test('a UID cannot lead out of the directory', async () => {
  const directory = await folder();
  await expect(open(directory).create({ ...request, uid: '../x' })).rejects.toThrow(RangeError);
});

test('the file of a snapshot is no volume', async () => {
  const directory = await folder();
  const backend = open(directory);
  const made = await backend.create(request);
  await writeFile(join(directory, 'snap-u-9.img'), 'data');
  expect((await backend.measure(signal)).volumes).toStrictEqual([{ ...made, volume: 'pvc-1' }]);
});

test('a file into which data is copied is marked before it has its name, whatever crashes, until the copy is finished', async () => {
  const copied = { ...request, copy: 'snap-uid/0a1b' };
  const count = crashing(0, 'before');
  await open(await folder(), { fs: count.fs }).create(copied);
  for (const when of ['before', 'after'] as const)
    for (let step = 1; step <= count.steps(); step++) {
      const directory = await folder();
      await open(directory, { fs: crashing(step, when).fs })
        .create(copied)
        .catch(() => {});
      for (const { copy } of (await open(directory).measure(signal)).volumes) expect(copy).toBe('snap-uid/0a1b');
      expect((await open(directory).create(copied)).copy).toBe('snap-uid/0a1b');
    }
  const directory = await folder();
  await open(directory).create(copied);
  await open(directory).finishCopy('u-1');
  await open(directory).finishCopy('u-1');
  expect((await open(directory).open('u-1'))?.copy).toBeUndefined();
  await open(directory).create({ ...copied, uid: 'u-2' });
  await open(directory).remove('u-2');
  expect((await readdir(directory)).filter((name) => name.includes('u-2'))).toStrictEqual([]);
});
