import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
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
  expect(await unsharedBytes(path)).toBe(MiB);
  await writeFile(path, '');
  expect(await unsharedBytes(path)).toBe(0);
});

test('a file that is not there is an error', async () => {
  await expect(unsharedBytes('/no/such/file')).rejects.toMatchObject({ code: 'ENOENT' });
});
