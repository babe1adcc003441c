import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFileSystem as fs, hasCode } from './file-system.ts';

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-fs-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

test('a directory is made with its parents, for its owner alone, and may exist', async () => {
  const directory = join(await folder(), 'a', 'b');
  await fs.mkdir(directory);
  await fs.mkdir(directory);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
});

test('a directory that cannot be made is an error, and does not hang', async () => {
  await expect(fs.mkdir('/proc/nope/pool')).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a sparse file takes no room, and is never made over another', async () => {
  const path = join(await folder(), 'x');
  await fs.createSparse(path, 1 << 30);
  expect(await fs.stat(path)).toMatchObject({ file: true, size: 1 << 30 });
  expect((await fs.stat(path)).blocks).toBeLessThan(1024);
  await expect(fs.createSparse(path, 1)).rejects.toMatchObject({ code: 'EEXIST' });
});

test('files are written, renamed, removed, and their directory is synced', async () => {
  const directory = await folder();
  await fs.write(join(directory, 'a'), 'text');
  await fs.rename(join(directory, 'a'), join(directory, 'b'));
  await fs.syncDirectory(directory);
  expect([await fs.read(join(directory, 'b')), await fs.readdir(directory)]).toStrictEqual(['text', ['b']]);
  await fs.unlink(join(directory, 'b'));
  expect(await readdir(directory)).toStrictEqual([]);
});

test('an error is known by its code', () => {
  expect(hasCode(Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT')).toBe(true);
  expect(hasCode(Object.assign(new Error('x'), { code: 'EIO' }), 'ENOENT')).toBe(false);
  expect(hasCode('ENOENT', 'ENOENT')).toBe(false);
});

test('the mount table says which device a path is on, without a look at it', async () => {
  const { dev } = await stat('/proc');
  const proc = await fs.mountedAt('/proc/nope');
  expect(proc).toBe(`${dev >> 8}:${dev & 0xff}`);
  expect(await fs.mountedAt('/process')).toBe(await fs.mountedAt('/'));
  expect(await fs.mountedAt('/process')).not.toBe(proc);
});
