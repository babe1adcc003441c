// Runs as root inside a guest, on an empty XFS file system with reflink=1 of 300 MiB or more: node file-snapshots-inside.ts /mnt/x
import assert from 'node:assert/strict';
import { open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instant } from '../../agent/backends/backend.ts';
import { FileBackend } from '../../agent/backends/file/backend.ts';

const MiB = 1 << 20;
const { signal } = new AbortController();
const mount = process.argv[2] ?? '';
/** The backend of a process that has just been started. */
const files = (directory = join(mount, 'pool')) => new FileBackend({ pool: 'p1', directory, expected: () => [] });
const instant: Instant = async (make) => {
  const started = performance.now();
  await make();
  console.log(`TIMING file snapshot: held for ${(performance.now() - started).toFixed(0)} ms`);
  return new Date();
};
const request = { uid: 's-1', name: 'snap-1', volumeUID: 'f-1' };

async function fill(path: string, byte: number): Promise<void> {
  const file = await open(path, 'r+');
  for (let each = 0; each < 16; each++) await file.write(Buffer.alloc(MiB, byte), 0, MiB, each * MiB);
  await file.sync();
  await file.close();
}

async function first16(path: string): Promise<Set<number>> {
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(16 * MiB), 0, 16 * MiB, 0);
  await file.close();
  return new Set(buffer);
}

const taken = async (): Promise<number> => {
  const { blocks, bfree, bsize } = await statfs(mount);
  return (blocks - bfree) * bsize;
};

assert.equal(await files().snapshots.problem(), undefined);
assert.match((await new FileBackend({ pool: 'p2', directory: '/dev/shm/p2', expected: () => [] }).snapshots.problem()) ?? '', /use XFS/);

await files().create({ uid: 'f-1', name: 'pvc-1', bytes: 96 * MiB });
await fill(files().path('f-1'), 1);
const [free, before] = [(await files().measure(signal)).free, await taken()];
const snapshot = await files().snapshots.take(request, instant, signal);
assert.ok((await taken()) - before < 4 * MiB, 'blocks are shared');
// The file system can come to take 16 MiB more, which are not promised to anybody from now on.
const reserved = free - (await files().measure(signal)).free;
assert.ok(reserved >= 16 * MiB && reserved < 20 * MiB, `${reserved} bytes are reserved`);

await fill(files().path('f-1'), 2);
assert.ok((await taken()) - before > 14 * MiB, 'blocks that are written again take room');
await files().remove('f-1');
assert.deepEqual(await files().snapshots.list(signal), [snapshot]);
assert.equal(await files().snapshots.restore({ uid: 'f-2', name: 'pvc-2', bytes: 128 * MiB }, 's-1', signal), true);
assert.equal((await files().open('f-2'))?.bytes, 128 * MiB);
await files().snapshots.remove('s-1', signal);
assert.deepEqual(await first16(files().path('f-2')), new Set([1]));

// Where the room would not be enough for every block that a snapshot keeps, none is taken.
await fill(files().path('f-2'), 3);
await files().create({ uid: 'f-3', name: 'pvc-3', bytes: (await files().measure(signal)).free - 8 * MiB });
const full = files().snapshots.take({ ...request, volumeUID: 'f-2' }, instant, signal);
await assert.rejects(full, { reason: 'PoolFull', message: /may need \d+ bytes, and .* has \d+ that are not promised/ });
