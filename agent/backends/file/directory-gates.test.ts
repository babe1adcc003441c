import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MiB } from '../../../api/quantity.ts';
import { HungFileSystem } from '../../testing/hung-file-system.ts';
import { FileBackend } from './backend.ts';
import { DirectoryGates } from './directory-gates.ts';
import { Directories } from './directory-state.ts';

const { signal } = new AbortController();
const LATE_MS = 150;
const request = (uid: string) => ({ uid, name: `pvc-${uid}`, bytes: MiB });

/** File pools, each in a directory of its own. `changes` and `long`: limits in ms. */
async function world({ changes = LATE_MS, long = LATE_MS } = {}) {
  const root = await mkdtemp(join(tmpdir(), 'aoe-hung-'));
  const disk = new HungFileSystem();
  onTestFinished(async () => {
    disk.release();
    await rm(root, { recursive: true, force: true });
  });
  const directories = new Directories({ fs: disk.fs, gates: new DirectoryGates({ lateMs: LATE_MS, changeMs: changes, longMs: long }) });
  const pool = async (name: string, siblings: string[] = []) => {
    const directory = join(root, name);
    await mkdir(directory, { recursive: true });
    const backend = new FileBackend({
      ...{ pool: name, directory, expected: () => [], reserve: '0', fs: directories.fs, state: directories.of(directory) },
      siblings: () => siblings.map((each) => ({ pool: each, directory: join(root, each) })),
    });
    /** The same directory, for what is not the matter of a test: a machine may be slow. */
    const plain = new FileBackend({ pool: name, directory, expected: () => [], reserve: '0' });
    /** The disk answers, and what waited for it has ended. */
    const release = async (): Promise<void> => {
      disk.release();
      const turn = () => directories.of(directory).serial.turn(async () => true, signal);
      for (let tries = 0; tries < 500 && !(await turn().catch(() => false)); tries++) await delay(10);
    };
    return { directory, backend, plain, release };
  };
  return { disk, directories, pool };
}

/** How long something took, in ms. */
async function took(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

test('a pool whose disk does not answer says so in time, each further call fails at once, and all is well when it answers', async () => {
  const { disk, pool } = await world();
  const { directory, backend, plain, release } = await pool('a');
  await plain.create(request('u-1'));
  disk.hang(directory);
  const message = expect.stringMatching(
    new RegExp(
      `^directory ${directory}: reading ${directory}/.aoe-pool, begun at 20.*Z, has not ended, so nothing else is done there until`,
    ),
  );
  expect(await backend.measure(signal)).toStrictEqual({ ready: false, message, size: 0, free: 0, granularity: MiB, tail: 0, volumes: [] });
  const refused = { name: 'BackendError', reason: 'PoolNotReady', message };
  const calls = [
    () => backend.remove('u-1'),
    () => backend.retain('u-1'),
    () => backend.find('u-1'),
    () => backend.create(request('u-2')),
    () => backend.noteMoves('u-1', 1),
    () => backend.growth.grow('u-1', 2 * MiB, signal),
    () => backend.namesakes(request('u-2'), signal),
    () => backend.snapshots.list(signal),
    () => backend.snapshots.take({ uid: 's-1', name: 's', volumeUID: 'u-1' }, async () => new Date(), signal),
    () => backend.adoption.adopt({ ...request('u-3'), from: 'x' }, async () => undefined, signal),
  ];
  for (const call of calls) expect(await took(() => expect(call()).rejects.toMatchObject(refused))).toBeLessThan(LATE_MS);
  expect(await backend.measure(signal)).toMatchObject({ ready: false, message });
  expect(disk.waiting, 'one thread').toStrictEqual([`read ${directory}/.aoe-pool`]);
  await release();
  expect(await backend.measure(signal)).toMatchObject({ ready: true, volumes: [{ uid: 'u-1' }] });
  await backend.remove('u-1');
  expect(await backend.find('u-1')).toBeUndefined();
});

test('two disks that hang hold two threads; pools on others go on beside one of them, and are refused beside two', async () => {
  const { disk, pool } = await world();
  const [a, b, c] = [await pool('a'), await pool('b'), await pool('c', ['a', 'b'])];
  await Promise.all([a, b, c].map(({ plain }) => plain.create(request('u-1'))));
  disk.hang(a.directory);
  await Promise.all(Array.from({ length: 16 }, (_, each) => expect(a.backend.remove(`u-${each}`)).rejects.toThrow(a.directory)));
  expect((await b.backend.measure(signal)).ready).toBe(true);
  disk.hang(b.directory);
  await expect(b.backend.remove('u-1')).rejects.toThrow(/^directory .*\/b: /);
  expect(disk.waiting).toHaveLength(2);
  const both =
    /^directory .*\/c: nothing is done there, because .* other directories.*\(reading .*\/a\/\.aoe-pool.*; reading .*\/b\/\.aoe-pool/;
  expect(await c.backend.measure(signal)).toMatchObject({ ready: false, message: expect.stringMatching(both) });
  await a.release();
  await b.release();
  expect((await c.backend.measure(signal)).ready).toBe(true);
});

test('each step of a creation or a removal may end late, after its caller has gone: the next attempt makes up for it', async () => {
  for (const work of ['create', 'remove', 'retain'] as const) {
    for (let at = 1, isLast = false; !isLast; at++) {
      const { disk, directories, pool } = await world();
      const { directory, plain, release } = await pool('a');
      if (work !== 'create') await plain.create(request('u-1'));
      let step = 0;
      const entries = Object.entries(directories.fs).map(([name, call]) => [
        name,
        async (...args: never[]) => {
          if (++step === at) disk.hang(directory);
          return await (call as (...all: never[]) => Promise<unknown>)(...args);
        },
      ]);
      const state = directories.of(directory);
      const other = new FileBackend({ pool: 'a', directory, expected: () => [], reserve: '0', fs: Object.fromEntries(entries), state });
      const attempt = () => (work === 'create' ? other.create(request('u-1')) : other[work]('u-1'));
      const outcome = await attempt().then(
        () => 'done',
        (error: Error) => error.message,
      );
      isLast = step < at;
      if (!isLast) expect(outcome).toMatch(/has not ended/);
      await release();
      await (work === 'create' ? plain.create(request('u-1')) : plain[work]('u-1'));
      const { ready, volumes } = await plain.measure(signal);
      expect([ready, volumes.map(({ uid, bytes }) => [uid, bytes])]).toStrictEqual([true, work === 'create' ? [['u-1', MiB]] : []]);
    }
  }
});

test('what may take long is waited for by its caller, while others are told that the directory does not answer', async () => {
  const { disk, directories, pool } = await world({ long: 60_000 });
  const { directory, backend, plain } = await pool('a');
  const { name } = await plain.create(request('u-1'));
  disk.hang(name);
  const long = directories.fs.syncFile(name);
  await delay(2 * LATE_MS);
  expect(await backend.measure(signal)).toMatchObject({ ready: false, message: expect.stringContaining(`syncing ${name}, begun at`) });
  await expect(directories.of(directory).serial.turn(async () => 'never', signal)).rejects.toMatchObject({ reason: 'PoolNotReady' });
  disk.release();
  await long;
  expect((await backend.measure(signal)).ready).toBe(true);
});

test('a change on a busy disk is waited for longer than a look', async () => {
  const { disk, directories, pool } = await world({ changes: 60_000 });
  const { directory, backend } = await pool('a');
  disk.hang(directory);
  const made = directories.fs.write(join(directory, 'x'), 'text');
  await expect(directories.fs.read(join(directory, 'x'))).rejects.toMatchObject({ reason: 'PoolNotReady' });
  disk.release();
  await made;
  expect(await directories.fs.read(join(directory, 'x'))).toBe('text');
  expect((await backend.measure(signal)).ready).toBe(true);
});
