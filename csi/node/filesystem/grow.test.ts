import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { growCommand, growFilesystem, sizeInSuperblock } from './grow.ts';

const signal = new AbortController().signal;

for (const [type, bytes, args] of [
  ['ext4', 64 * MiB, ['-q', '-F']],
  ['ext4', 64 * MiB, ['-q', '-F', '-b', '4096', '-O', '^64bit']],
  ['xfs', 320 * MiB, ['-q', '-f']],
] as const) {
  test(`the size of a file system as mkfs.${type} ${args.join(' ')} makes it`, () => {
    const directory = mkdtempSync(join(tmpdir(), 'aoe-grow-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'disk');
    writeFileSync(path, '');
    truncateSync(path, bytes);
    execFileSync(`mkfs.${type}`, [...args, path]);
    const start = readFileSync(path).subarray(0, 2048);
    expect(sizeInSuperblock(start, type)).toBe(bytes);
    expect(sizeInSuperblock(start, type === 'xfs' ? 'ext4' : 'xfs'), 'not of the other type').toBeUndefined();
  });
}

test('a disk without a superblock, or that cannot be read whole, has no size', () => {
  for (const type of ['ext4', 'xfs']) {
    expect(sizeInSuperblock(Buffer.alloc(2048), type)).toBeUndefined();
    expect(sizeInSuperblock(Buffer.alloc(100), type)).toBeUndefined();
  }
});

test('an ext4 of more than 2^32 blocks', () => {
  const start = Buffer.alloc(2048);
  start.writeUInt16LE(0xef53, 1024 + 0x38);
  start.writeUInt32LE(0x2c2 | 0x80, 1024 + 0x60);
  start.writeUInt32LE(7, 1024 + 4);
  start.writeUInt32LE(3, 1024 + 0x150);
  start.writeUInt32LE(2, 1024 + 0x18);
  expect(sizeInSuperblock(start, 'ext4')).toBe((3 * 2 ** 32 + 7) * 4096);
});

test('ext4 grows by its device, XFS by its mount, and nothing else grows', () => {
  expect(growCommand({ device: '/dev/etherd/e1.1', path: '/mnt', type: 'ext4' })).toStrictEqual(['resize2fs', ['/dev/etherd/e1.1']]);
  expect(growCommand({ device: '/dev/etherd/e1.1', path: '/mnt', type: 'xfs' })).toStrictEqual(['xfs_growfs', ['-d', '/mnt']]);
  expect(() => growCommand({ device: '/dev/x', path: '/mnt', type: 'vfat' })).toThrow(/vfat cannot be made larger/);
});

test('a file system grows when its disk is larger, and somebody may write to it', async () => {
  const grown: string[] = [];
  const attempt = (size: number | undefined, options = ['rw'], superOptions = ['rw']): Promise<boolean> =>
    growFilesystem(
      { size: async () => size, grow: async ({ type }) => void grown.push(type) },
      { path: '/dev/etherd/e1.1', device: '152:16', bytes: 64 * MiB },
      { target: '/mnt', type: 'ext4', options, superOptions },
      signal,
    );
  expect(await attempt(64 * MiB)).toBe(false);
  expect(await attempt(64 * MiB - 1024), 'less than a block').toBe(false);
  expect(await attempt(undefined)).toBe(false);
  expect(await attempt(32 * MiB, ['ro'])).toBe(false);
  expect(await attempt(32 * MiB, ['rw'], ['ro'])).toBe(false);
  expect(grown).toStrictEqual([]);
  expect(await attempt(32 * MiB)).toBe(true);
  expect(grown).toStrictEqual(['ext4']);
});
