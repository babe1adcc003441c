import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unsharedBytes } from './extents.ts';

const MiB = 1 << 20;

test('the blocks of a file that was never cloned are its own, and holes are none', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'aoe-extents-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'x');
  await writeFile(path, Buffer.alloc(MiB, 1), { flush: true });
  await truncate(path, 100 * MiB);
  expect(await unsharedBytes(path, 0)).toStrictEqual({ bytes: MiB });
  expect(await unsharedBytes(path, 50 * MiB)).toStrictEqual({ bytes: 0 });
  await writeFile(path, '');
  expect(await unsharedBytes(path, 0)).toStrictEqual({ bytes: 0 });
});

test('a file of very many extents is read in parts, which have all of it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'aoe-extents-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'x');
  const file = await open(path, 'w');
  const [block, count] = [Buffer.alloc(4096, 1), 1500];
  for (let each = 0; each < count; each++) await file.write(block, 0, block.length, 4 * each * block.length);
  await file.sync();
  await file.close();
  const parts = [await unsharedBytes(path, 0, { callsAtOnce: 1 })];
  for (let end = parts[0]?.end; end !== undefined; end = parts.at(-1)?.end) parts.push(await unsharedBytes(path, end, { callsAtOnce: 1 }));
  expect(parts.length).toBeGreaterThan(1);
  expect(parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(count * block.length);
});

test('a file that is not there is an error', async () => {
  await expect(unsharedBytes('/no/such/file', 0)).rejects.toMatchObject({ code: 'ENOENT' });
});
