import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MiB } from '../../../api/quantity.ts';
import { FileBackend } from './backend.ts';
import { type FileSystem, nodeFileSystem } from './file-system.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 3 * MiB + 1 };

async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-file-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return join(made, 'pool');
}

const open = (directory: string, { expected = [] as string[], fs = nodeFileSystem } = {}): FileBackend =>
  new FileBackend({ pool: 'p1', directory, expected: () => expected, fs });

/** The real file system until the n-th call, which throws, before or after its effect. */
function crashing(at: number, when: 'before' | 'after'): { fs: FileSystem; steps: () => number } {
  let step = 0;
  const wrap =
    (call: (...args: never[]) => Promise<unknown>) =>
    async (...args: never[]) => {
      const mine = ++step;
      if (mine === at && when === 'before') throw new Error('crash');
      const result = await call(...args);
      if (mine === at) throw new Error('crash');
      return result;
    };
  const entries = Object.entries(nodeFileSystem).map(([name, call]) => [name, wrap(call as never)]);
  return { fs: Object.fromEntries(entries) as FileSystem, steps: () => step };
}

test('a file is made sparse, found again, and removed', async (t) => {
  const directory = await folder(t);
  const made = await open(directory).create(request);
  assert.deepEqual(made, { uid: 'u-1', name: join(directory, 'u-1.img'), bytes: 4 * MiB });
  const { size, blocks, mode } = await stat(made.name);
  assert.equal(size, 4 * MiB);
  assert.ok(blocks * 512 < MiB);
  assert.equal(mode & 0o777, 0o600);
  assert.deepEqual(await open(directory).open('u-1'), made);
  assert.deepEqual(await open(directory).list(signal), [made]);
  await open(directory).remove('u-1');
  await open(directory).remove('u-1');
  assert.deepEqual(await open(directory).list(signal), []);
});

test('a crash at any step of making, and of removing, is mended by doing it again', async (t) => {
  for (const work of ['create', 'remove', 'retain'] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; ; at++) {
        const directory = await folder(t);
        if (work !== 'create') await open(directory).create(request);
        const { fs, steps } = crashing(at, when);
        const backend = open(directory, { fs });
        await (work === 'create' ? backend.create(request) : backend[work]('u-1')).catch(() => {});
        for (const { bytes } of await open(directory).list(signal)) assert.equal(bytes, 4 * MiB);
        if (work === 'create') {
          await open(directory).create(request);
          assert.equal((await open(directory).list(signal)).length, 1);
          await writeFile(join(directory, 'u-1.img'), 'data', { flag: 'r+' });
          await open(directory).create(request);
          assert.ok((await stat(join(directory, 'u-1.img'))).blocks > 0, 'data stays');
        } else {
          await open(directory)[work]('u-1');
          assert.deepEqual(await open(directory).list(signal), []);
        }
        assert.ok(!(await readdir(directory)).includes('u-1.img.new'));
        if (steps() < at) break;
      }
    }
  }
});

test('a directory without its mark, where volumes are expected, is not used', async (t) => {
  const directory = await folder(t);
  const { ready, message } = await open(directory, { expected: ['u-1'] }).measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /is its file system mounted\?/);
  await assert.rejects(open(directory, { expected: ['u-1'] }).create(request), { reason: 'PoolMissing' });
  await assert.rejects(stat(directory), { code: 'ENOENT' });
});

test('a directory with the mark and none of its volumes is the wrong side of a mount point', async (t) => {
  const directory = await folder(t);
  await open(directory).create(request);
  await open(directory).remove('u-1');
  const backend = open(directory, { expected: ['u-8', 'u-9'] });
  const { ready, message } = await backend.measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /has none of the 2 volumes that were made there: is its file system mounted\?/);
  await assert.rejects(backend.create(request), { reason: 'PoolMissing' });
  await assert.rejects(backend.open('u-9'), { reason: 'PoolMissing' });
  // The AoEVolume of one that is lost can be deleted all the same.
  await open(directory, { expected: ['u-8', 'u-9'] }).remove('u-9');
  // One is enough: another may be lost.
  await open(directory).create({ ...request, uid: 'u-9' });
  assert.equal((await backend.measure(signal)).ready, true);
  assert.equal(await backend.open('u-8'), undefined);
});

test('the last volume of a pool is not missed when it was removed here, or given away', async (t) => {
  for (const how of ['remove', 'retain'] as const) {
    const made = await folder(t);
    await open(made).create(request);
    const pool = open(made, { expected: ['u-1'] });
    await pool[how]('u-1');
    assert.equal((await pool.measure(signal)).ready, true);
  }
});

test('a directory of another pool is not used', async (t) => {
  const directory = await folder(t);
  await open(directory).create(request);
  const other = new FileBackend({ pool: 'p2', directory, expected: () => [] });
  await assert.rejects(other.create(request), /belongs to pool p1/);
});

test('a directory that cannot be made is a pool that is not ready', async () => {
  const { ready, message } = await open('/proc/nope/pool').measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /cannot be made/);
});

test('the pool counts what is free and what its files have taken', async (t) => {
  const directory = await folder(t);
  const backend = open(directory);
  const before = await backend.measure(signal);
  await backend.create({ ...request, bytes: 64 * MiB });
  const after = await backend.measure(signal);
  assert.equal(after.granularity, MiB);
  assert.ok(Math.abs(after.size - before.size) < 512 * MiB);
  assert.equal(after.free, after.size - 64 * MiB);
});

test('a size beyond the file system is refused', async (t) => {
  await assert.rejects(open(await folder(t)).create({ ...request, bytes: 2 ** 60 }), { name: 'BackendError' });
});

test('a UID cannot lead out of the directory', async (t) => {
  const directory = await folder(t);
  await assert.rejects(open(directory).create({ ...request, uid: '../x' }), RangeError);
});
