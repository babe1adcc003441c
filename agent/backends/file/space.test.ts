import { MiB } from '../../../api/quantity.ts';
import { BackendError } from '../backend.ts';
import { bytesOf, MARKER, type SpaceOptions, spaceOf } from './space.ts';

const { signal } = new AbortController();
const GiB = 1024 * MiB;
interface File {
  device: number;
  hangs?: true;
  size?: number;
  taken?: number;
  text?: string;
}

/** File systems by the number of their device; of 100 GiB each, with this much free. */
function world(free: number, files: Record<string, File>, kubelet = 9) {
  const all: Record<string, File> = { '/etc/hosts': { device: kubelet }, '/a': { device: 1 }, ...files };
  const find = (path: string): File => {
    const file = all[path];
    if (!file) throw new Error(`ENOENT ${path}`);
    return file;
  };
  const fs: SpaceOptions['fs'] = {
    read: async (path) => find(path).text ?? '',
    readdir: async (path) => Object.keys(all).flatMap((each) => (each.startsWith(`${path}/`) ? [each.slice(path.length + 1)] : [])),
    stat: async (path) => {
      const { hangs, size = 0, taken = 0 } = find(path);
      if (hangs) throw new BackendError('PoolNotReady', '/b does not answer');
      return { file: size > 0, size, blocks: taken / 512 };
    },
    device: async (path) => {
      const { hangs, device } = find(path);
      if (hangs) throw new BackendError('PoolNotReady', `${path} does not answer`);
      return device;
    },
    mountedAt: async (path) => `8:${find(path).device}`,
    statfs: async () => ({ blocks: (100 * GiB) / 4096, bavail: free / 4096, bsize: 4096, type: 0x58465342 }),
  };
  const unshared: SpaceOptions['unshared'] = {
    of: async (counted) => new Map(counted.map(({ path }) => [path, { bytes: find(path).taken ?? 0, isShort: true }])),
  };
  return async (options: Partial<SpaceOptions> = {}, own = { taken: 0, promised: 0 }) => {
    const path = '/a/own.img';
    all[path] = { device: 1, taken: own.taken };
    const file = { path, size: own.promised, blocks: own.taken / 512 };
    return (await spaceOf({ fs, unshared, directory: '/a', reserve: undefined, siblings: [], ...options }, [file], signal)).space;
  };
}

test('a pool on the file system of the kubelet leaves it 20 % by default, another pool leaves nothing', async () => {
  expect((await world(60 * GiB, {}, 1)()).size).toBe(40 * GiB);
  expect((await world(60 * GiB, {}, 2)()).size).toBe(60 * GiB);
});

test('a reserve that is set counts, whatever the file system is', async () => {
  for (const kubelet of [1, 2]) {
    const space = world(60 * GiB, {}, kubelet);
    expect((await space({ reserve: '50%' })).size).toBe(10 * GiB);
    expect((await space({ reserve: '5Gi' })).size).toBe(55 * GiB);
    expect((await space({ reserve: '0' })).size).toBe(60 * GiB);
    expect((await space({ reserve: '99%' })).size).toBe(0);
  }
});

test('what volumes have taken belongs to the pool, and what is promised to them is not free', async () => {
  const space = world(30 * GiB, {}, 1);
  expect(await space({}, { taken: 10 * GiB, promised: 15 * GiB })).toStrictEqual({
    size: 20 * GiB,
    free: 5 * GiB,
    message: undefined,
    sharedWith: [],
  });
});

test('a pool whose promises are not covered any more says how much is missing, though the reserve is not used up', async () => {
  const { free, message } = await world(5 * GiB, {}, 1)({}, { taken: 10 * GiB, promised: 17 * GiB });
  expect(free).toBe(0);
  expect(message).toMatch(/^other software or snapshots fill the file system of \/a: its volumes were promised 2Gi more than is free/);
});

test('pools on one file system have the same space: both are told the same, and none of it is promised twice', async () => {
  const volume = (taken: number): File => ({ device: 1, size: 10 * GiB, taken });
  const files = {
    '/b': { device: 1 },
    [`/b/${MARKER}`]: { device: 1, text: 'b\n' },
    '/b/u-1.img': volume(4 * GiB),
    '/b/u-2.img': volume(GiB),
    '/b/u-2.img.volume': volume(0),
    '/b/u-3.img.retained': volume(GiB),
    '/b/snap-u-4.img': volume(GiB),
    '/other-disk': { device: 2 },
    '/not-begun': { device: 1 },
    '/of-another': { device: 1 },
    [`/of-another/${MARKER}`]: { device: 1, text: 'x\n' },
  };
  const siblings = ['b', 'other-disk', 'not-begun', 'of-another', 'missing'].map((pool) => ({ pool, directory: `/${pool}` }));
  expect(await world(50 * GiB, files)({ siblings }, { taken: 2 * GiB, promised: 3 * GiB })).toStrictEqual({
    size: 57 * GiB,
    free: 34 * GiB,
    message: undefined,
    sharedWith: ['b'],
  });
});

test('a pool beside one whose disk does not answer is measured, unless both are on that disk: what the other has taken must not be promised', async () => {
  const siblings = [{ pool: 'b', directory: '/b' }];
  const beside = (device: number) => world(60 * GiB, { '/b': { device, hangs: true } })({ siblings });
  expect(await beside(2)).toMatchObject({ size: 60 * GiB, sharedWith: [] });
  await expect(beside(1)).rejects.toMatchObject({ reason: 'PoolNotReady', message: '/b does not answer' });
});

test('a pool on a disk of which another pool stops answering while it is read is not measured', async () => {
  const files = { '/b': { device: 1 }, [`/b/${MARKER}`]: { device: 1, text: 'b' }, '/b/u-1.img': { device: 1, hangs: true as const } };
  await expect(world(60 * GiB, files)({ siblings: [{ pool: 'b', directory: '/b' }] })).rejects.toThrow('/b does not answer');
});

/** A pool of one file of 10 GiB, half of it written, on a file system with this much free before and after the files are counted. */
function measured(free: { before: number; after: number }, unshared: SpaceOptions['unshared']) {
  let calls = 0;
  const missing = () => Promise.reject(new Error('ENOENT'));
  const fs: SpaceOptions['fs'] = {
    read: missing,
    readdir: missing,
    stat: missing,
    device: missing,
    mountedAt: async () => undefined,
    statfs: async () => ({ blocks: 100, bavail: (calls++ === 0 ? free.before : free.after) / GiB, bsize: GiB, type: 0x58465342 }),
  };
  const file = { path: '/a/own.img', size: 10 * GiB, blocks: (5 * GiB) / 512 };
  return spaceOf({ fs, unshared, directory: '/a', reserve: '0', siblings: [] }, [file], signal);
}

test('what is written or given back while files are counted is not free and taken at once', async () => {
  const own = (bytes: number): SpaceOptions['unshared'] => ({ of: async () => new Map([['/a/own.img', { bytes, isShort: true }]]) });
  const { space, left, room } = await measured({ before: 20 * GiB, after: 17 * GiB }, own(8 * GiB));
  expect([space.size, space.free, left, room].map((bytes) => bytes / GiB)).toStrictEqual([25, 15, 15, 17]);
  expect((await measured({ before: 20 * GiB, after: 23 * GiB }, own(5 * GiB))).room).toBe(20 * GiB);
});

test('a file that is still being counted has nothing of its own, which is said instead of that other software fills the file system', async () => {
  const { space, left, own } = await measured({ before: 8 * GiB, after: 8 * GiB }, { of: async () => new Map() });
  expect(space).toMatchObject({
    size: 8 * GiB,
    free: 0,
    message: expect.stringMatching(/^which blocks are shared is still being counted for 1 files/),
  });
  expect([left, own.size]).toStrictEqual([-2 * GiB, 0]);
});

test('a percentage is of the whole file system', () => {
  expect(bytesOf('15%', 1000)).toBe(150);
  expect(bytesOf('1%', 1001)).toBe(11);
  expect(bytesOf('2Ki', 1000)).toBe(2048);
});
