import { mkdtemp, open as openFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { MiB } from '../../../api/quantity.ts';
import type { Instant } from '../backend.ts';
import { FileBackend } from './backend.ts';
import { Directories, DirectoryState } from './directory-state.ts';
import { type FileSystem, nodeFileSystem } from './file-system.ts';
import { UnsharedBytes } from './unshared-bytes.ts';

const { signal } = new AbortController();
const request = { uid: 'u-1', name: 'pvc-1', bytes: 3 * MiB + 1, tail: true as const };
const BLOCK = 4096;
const XFS = 0x5846_5342;

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-tail-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return join(made, 'pool');
}

const open = (directory: string, fs = nodeFileSystem): FileBackend =>
  new FileBackend({ pool: 'p1', directory, expected: () => [], reserve: '0', fs });

/** The real file system, where all calls from the nth on fail. */
function ending(at: number, when: 'before' | 'after'): FileSystem {
  let step = 0;
  const entries = Object.entries(nodeFileSystem).map(([name, call]) => {
    const wrapped = async (...args: never[]) => {
      const mine = ++step;
      if (mine > at || (mine === at && when === 'before')) throw new Error('crash');
      const result = await (call as (...args: never[]) => Promise<unknown>)(...args);
      if (mine === at) throw new Error('crash');
      return result;
    };
    return [name, wrapped];
  });
  return Object.fromEntries(entries) as FileSystem;
}

/** A file system with clones, where files of the test have no blocks of their own. */
const cloning: FileSystem = {
  ...nodeFileSystem,
  clone: async (from, to) => {
    await nodeFileSystem.createSparse(to, (await stat(from)).size);
    await copyBlocks(from, to);
  },
  statfs: async (path) => ({ ...(await nodeFileSystem.statfs(path)), type: XFS }),
  unshared: async () => ({ bytes: 0 }),
};

async function copyBlocks(from: string, to: string): Promise<void> {
  const { size } = await stat(from);
  for (let at = 0; at < size; at += MiB) for (const each of [at, at + MiB - BLOCK]) await put(to, each, await letter(from, each));
}

async function put(path: string, at: number, text: string): Promise<void> {
  if (text === '') return;
  const file = await openFile(path, 'r+');
  await file.write(Buffer.alloc(BLOCK, text), 0, BLOCK, at);
  await file.close();
}

/** The letter that a block is full of; empty when it is zeros. */
async function letter(path: string, at: number): Promise<string> {
  const file = await openFile(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, at);
  await file.close();
  return String.fromCharCode(...new Set(buffer)).replace('\0', '');
}

/** The letters at the ends of each MiB. */
async function letters(path: string, from: number, to: number): Promise<string> {
  let found = '';
  for (let at = from; at < to; at += MiB) found += (await letter(path, at)) + (await letter(path, at + MiB - BLOCK));
  return found;
}

async function fill(path: string, from: number, to: number, text: string): Promise<void> {
  for (let at = from; at < to; at += MiB) for (const each of [at, at + MiB - BLOCK]) await put(path, each, text);
}

test('a file is larger than what may be exported of it, by what is noted beside it and not by its size', async () => {
  const directory = await folder();
  const made = await open(directory).create(request);
  expect(made).toStrictEqual({ uid: 'u-1', name: join(directory, 'u-1.img'), bytes: 4 * MiB, tail: 4 * MiB });
  expect((await stat(made.name)).size).toBe(8 * MiB);
  expect(await open(directory).open('u-1')).toStrictEqual(made);
  const measured = await open(directory).measure(signal);
  expect(measured).toMatchObject({ tail: 4 * MiB, volumes: [made] });
  expect(measured.size - measured.free).toBe(8 * MiB);
  await nodeFileSystem.extend(made.name, 20 * MiB);
  expect(await open(directory).open('u-1')).toMatchObject({ bytes: 4 * MiB, extended: 16 * MiB });
  await open(directory).remove('u-1');
  expect(await readdir(directory)).toStrictEqual(['.aoe-pool']);
});

test('whatever a growth ends at, a file exports no old tail, and never less than before', async () => {
  const step = fc.record({
    by: fc.integer({ min: 1, max: 6 }),
    at: fc.integer({ min: 1, max: 20 }),
    when: fc.constantFrom('before' as const, 'after' as const),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 3 }), async (steps) => {
      const directory = await folder();
      const { name } = await open(directory).create(request);
      let bytes = 4 * MiB;
      await fill(name, 0, bytes, 'd');
      await fill(name, bytes, bytes + 4 * MiB, 't');
      for (const { by, at, when } of steps) {
        const wanted = bytes + by * MiB;
        const grown = await open(directory, ending(at, when))
          .growth.grow('u-1', wanted, signal)
          .catch(() => undefined);
        const now = await open(directory).open('u-1');
        expect(now?.bytes).toBeGreaterThanOrEqual(grown ? wanted : bytes);
        const end = now?.bytes ?? 0;
        expect((await stat(name)).size).toBeGreaterThanOrEqual(end);
        expect(await letters(name, 0, bytes)).toBe('d'.repeat((2 * bytes) / MiB));
        expect(await letters(name, bytes, end)).toBe('');
        bytes = end;
        const { size } = await stat(name);
        await fill(name, 0, bytes, 'd');
        await fill(name, bytes, size, 't');
      }
    }),
    { numRuns: 30 },
  );
});

test('a creation that ends at any point is finished by the next one, with or without a tail', async () => {
  for (let at = 1; at < 30; at++) {
    const directory = await folder();
    await open(directory, ending(at, 'after'))
      .create(request)
      .catch(() => {});
    const { tail: _, ...plain } = request;
    const made = await open(directory).create(at % 2 === 0 ? request : { ...plain, bytes: 2 * MiB });
    const found = await open(directory).open('u-1');
    expect(found).toStrictEqual(made);
    expect((await stat(made.name)).size).toBe(made.bytes + (made.tail ?? 0));
  }
});

test('a file that is retained, or given back, has no tail any more', async () => {
  const directory = await folder();
  const { name } = await open(directory).create(request);
  await fill(name, 4 * MiB, 8 * MiB, 't');
  await open(directory).retain('u-1');
  expect((await stat(`${name}.retained`)).size).toBe(4 * MiB);
  const adopt = { uid: 'u-2', name: 'pvc-2', bytes: 4 * MiB, from: 'u-1.img.retained' };
  const adopted = await open(directory).adoption.adopt(adopt, async () => undefined, signal);
  expect(adopted).toMatchObject({ bytes: 4 * MiB });
  expect(adopted.tail).toBeUndefined();
});

test('an orphan with a tail is adopted with the size that was exported', async () => {
  const directory = await folder();
  await open(directory).create(request);
  const adopt = { uid: 'u-2', name: 'pvc-2', bytes: 4 * MiB, from: 'u-1.img' };
  expect(await open(directory).adoption.adopt(adopt, async () => undefined, signal)).toMatchObject({ bytes: 4 * MiB, tail: 4 * MiB });
  await open(directory).retain('u-2');
  expect((await stat(join(directory, 'u-1.img.retained'))).size).toBe(4 * MiB);
});

test('an orphan that is larger than its note says is not adopted until a person has decided what it is', async () => {
  const adopt = (directory: string, bytes: number) =>
    open(directory).adoption.adopt({ uid: 'u-2', name: 'pvc-2', bytes, from: 'u-1.img' }, async () => undefined, signal);
  for (const decision of ['cut', 'keep'] as const) {
    const directory = await folder();
    const { name } = await open(directory).create(request);
    await nodeFileSystem.extend(name, 20 * MiB);
    await fill(name, 0, 20 * MiB, 'd');
    for (const bytes of [4 * MiB, 16 * MiB, 20 * MiB])
      await expect(adopt(directory, bytes)).rejects.toMatchObject({
        reason: 'NotAdoptable',
        message: expect.stringContaining(`truncate --size=4194304 ${name}`),
      });
    expect((await stat(name)).size).toBe(20 * MiB);
    if (decision === 'cut') await nodeFileSystem.shorten(name, 4 * MiB);
    await nodeFileSystem.unlink(`${name}.exported`);
    const bytes = decision === 'cut' ? 4 * MiB : 20 * MiB;
    const adopted = await adopt(directory, bytes);
    expect([adopted.bytes, adopted.tail, adopted.extended]).toStrictEqual([bytes, undefined, undefined]);
    await open(directory).growth.grow('u-2', 24 * MiB, signal);
    expect(await letters(adopted.name, 0, bytes)).toBe('d'.repeat((2 * bytes) / MiB));
  }
});

test('a tail that an earlier version has exported is data from then on', async () => {
  const directory = await folder();
  const { name } = await open(directory).create(request);
  await fill(name, 4 * MiB, 8 * MiB, 'd');
  expect(await open(directory).exportTail('u-1', signal)).toStrictEqual({ uid: 'u-1', name, bytes: 8 * MiB });
  await open(directory).growth.grow('u-1', 10 * MiB, signal);
  expect(await letters(name, 4 * MiB, 8 * MiB)).toBe('d'.repeat(8));
});

test('a note that cannot be read keeps a file from being exported and from growing', async () => {
  const directory = await folder();
  const { name } = await open(directory).create(request);
  await nodeFileSystem.write(join(directory, 'u-1.img.exported'), 'x\n');
  expect(await open(directory).open('u-1')).toMatchObject({ bytes: 0 });
  await expect(open(directory).growth.grow('u-1', 10 * MiB, signal)).rejects.toThrow(/u-1\.img cannot be read/);
  expect((await stat(name)).size).toBe(8 * MiB);
});

test('a snapshot has what was exported of its volume, and a restored file a tail of its own', async () => {
  const directory = await folder();
  const backend = open(directory, cloning);
  const { name } = await backend.create(request);
  await fill(name, 0, 4 * MiB, 'd');
  await fill(name, 4 * MiB, 8 * MiB, 't');
  const at: Instant = async (make) => {
    await make();
    return new Date();
  };
  const { snapshots } = backend;
  expect((await snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal)).bytes).toBe(4 * MiB);
  for (const [uid, bytes, tail] of [
    ['u-2', 4 * MiB, true],
    ['u-3', 7 * MiB, true],
    ['u-4', 7 * MiB, undefined],
  ] as const) {
    await snapshots.restore({ uid, name: uid, bytes, ...(tail ? { tail } : {}) }, 's-1', signal);
    const restored = await backend.open(uid);
    expect(restored).toMatchObject({ bytes, ...(tail ? { tail: 4 * MiB } : {}) });
    const path = backend.path(uid);
    expect((await stat(path)).size).toBe(bytes + (tail ? 4 * MiB : 0));
    expect(await letters(path, 0, 4 * MiB)).toBe('d'.repeat(8));
    expect(await letters(path, 4 * MiB, (await stat(path)).size)).toBe('');
  }
  await snapshots.retain('s-1', signal);
  expect((await stat(join(directory, 'snap-s-1.img.retained'))).size).toBe(4 * MiB);
});

test('a file of many extents is not counted at each measurement, but again once a snapshot shares its blocks, in each pool of the file system', async () => {
  const own = new Map<string, number>();
  const counted: string[] = [];
  let now = 0;
  const fs: FileSystem = {
    ...cloning,
    clone: async (from, to) => {
      await cloning.clone(from, to);
      own.set(from, 0);
    },
    unshared: async (path) => {
      counted.push(path);
      now += 1_000;
      return { bytes: own.get(path) ?? 0 };
    },
  };
  const parent = join(await folder(), '..');
  const pools = ['a', 'b'].map((pool) => ({ pool, directory: join(parent, pool) }));
  const directories = new Directories({ fs, now: () => now });
  const [a, b] = pools.map(
    ({ pool, directory }) =>
      new FileBackend({
        ...{ pool, directory, expected: () => [], reserve: '0', fs, state: directories.of(directory) },
        siblings: () => pools.filter((each) => each.pool !== pool),
      }),
  ) as [FileBackend, FileBackend];
  await b.measure(signal);
  const { name } = await a.create(request);
  own.set(name, 8 * MiB);
  const sizes = async () => [await a.measure(signal), await b.measure(signal)].map(({ size }) => size);
  const [before = 0] = await sizes();
  await sizes();
  expect(counted).toStrictEqual([name]);
  await a.snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, async (make) => make().then(() => new Date()), signal);
  // Whatever else is written on this machine.
  for (const size of await sizes()) expect(before - size).toBeGreaterThan(4 * MiB);
});

/** Between the clone of a snapshot and its end. */
async function cloned(backend: FileBackend) {
  const [prepared] = await backend.snapshots.prepare([{ uid: 's-1', name: 'snap', volumeUID: 'u-1' }], signal);
  await prepared?.make();
  return { finish: () => prepared?.finish(new Date()) };
}

test('a snapshot has the size that its volume had when it was cloned, whatever happens to the volume and its note before it is finished', async () => {
  const events: Record<string, (other: FileBackend) => Promise<unknown>> = {
    growth: (other) => other.growth.grow('u-1', 12 * MiB, signal),
    removal: (other) => other.remove('u-1'),
    retention: (other) => other.retain('u-1'),
    'end of the tail': (other) => other.exportTail('u-1', signal),
  };
  for (const [name, happens] of Object.entries(events)) {
    const directory = await folder();
    const backend = open(directory, cloning);
    await fill((await backend.create(request)).name, 0, 8 * MiB, 'd');
    const { finish } = await cloned(backend);
    await happens(open(directory, cloning));
    expect(await finish(), name).toMatchObject({ bytes: 4 * MiB });
    await backend.snapshots.restore({ uid: 'u-2', name: 'pvc-2', bytes: 4 * MiB }, 's-1', signal);
    expect(await letters(backend.path('u-2'), 0, 4 * MiB), name).toBe('d'.repeat(8));
  }
});

test('no volume grows or exports its tail while a snapshot is taken, also when the settings of the pool change meanwhile', async () => {
  const directory = await folder();
  const state = new DirectoryState(new UnsharedBytes(cloning));
  const [before, after] = ['0', '10%'].map(
    (reserve) => new FileBackend({ pool: 'p1', directory, expected: () => [], reserve, fs: cloning, state }),
  ) as [FileBackend, FileBackend];
  await before.create(request);
  const order: string[] = [];
  const others: Promise<unknown>[] = [];
  const instant: Instant = async (make) => {
    await make();
    others.push(after.growth.grow('u-1', 12 * MiB, signal).then(() => order.push('grown')));
    others.push(after.exportTail('u-1', signal).then(() => order.push('exported')));
    // Longer than either of them takes.
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push('instant');
    return new Date();
  };
  await before.snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, instant, signal);
  await Promise.all(others);
  expect(order).toStrictEqual(['instant', 'grown', 'exported']);
});

test('no snapshot is taken of a file of which nobody knows how much was exported', async () => {
  const directory = await folder();
  const backend = open(directory, cloning);
  await backend.create(request);
  await nodeFileSystem.write(join(directory, 'u-1.img.exported'), 'x\n');
  await expect(cloned(backend)).rejects.toMatchObject({ reason: 'BackendFailed', message: /u-1\.img cannot be read, so no snapshot/ });
  expect((await readdir(directory)).filter((name) => name.startsWith('snap-'))).toStrictEqual([]);
});

test('a snapshot of which an earlier version has noted no size is not read as one without data, and its file can be kept', async () => {
  const directory = await folder();
  const backend = open(directory, cloning);
  await backend.create(request);
  await (await cloned(backend)).finish();
  const { snapshots } = backend;
  const record = { snapshot: 'snap', volumeUID: 'u-1', createdAt: new Date(0).toISOString(), bytes: 0 };
  await nodeFileSystem.write(join(directory, 'snap-s-1.img.snapshot'), JSON.stringify(record));
  expect(await snapshots.list(signal)).toMatchObject([{ uid: 's-1', bytes: 0 }]);
  const refused = { reason: 'BackendFailed', message: /snap-s-1\.img does not say how much/ };
  await expect(snapshots.restore({ uid: 'u-2', name: 'pvc-2', bytes: 4 * MiB }, 's-1', signal)).rejects.toMatchObject(refused);
  await expect(snapshots.expose('s-1', signal)).rejects.toMatchObject(refused);
  const first = async () => snapshots.blocks?.allocated('s-1', 0, signal)[Symbol.asyncIterator]().next();
  await expect(first()).rejects.toMatchObject(refused);
  await snapshots.retain('s-1', signal);
  expect((await stat(join(directory, 'snap-s-1.img.retained'))).size).toBe(8 * MiB);
});
