import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../../run/exec.ts';
import { Quick } from './quick.ts';
import { parseBlkid, SystemFilesystems } from './system-filesystems.ts';

const signal = new AbortController().signal;
const MIB = 1 << 20;

/** A file of zeros, with `data` at an offset. */
function fileOf(bytes: number, data = '', offset = 0): { path: string; device: string; bytes: number } {
  const path = join(mkdtempSync(join(tmpdir(), 'aoe-filesystems-')), 'disk');
  writeFileSync(path, Buffer.concat([Buffer.alloc(offset), Buffer.from(data)]));
  truncateSync(path, bytes);
  return { path, device: '', bytes };
}

/** One that gives everything up at once. */
async function tooSlow(): Promise<Quick> {
  const quick = new Quick(0);
  await quick.attempt(() => new Promise(() => {}), signal);
  return quick;
}

for (const [how, quick] of [
  ['itself', async () => new Quick()],
  ['by a program', tooSlow],
] as const) {
  test(`isBlank() reads the first and the last MiB, ${how}`, async () => {
    const filesystems = new SystemFilesystems(exec, await quick());
    expect(await filesystems.isBlank(fileOf(3 * MIB), signal)).toBe(true);
    expect(await filesystems.isBlank(fileOf(3 * MIB, 'x', MIB - 1), signal)).toBe(false);
    expect(await filesystems.isBlank(fileOf(3 * MIB, '\xff', 3 * MIB - 2), signal)).toBe(false);
    expect(await filesystems.isBlank(fileOf(3 * MIB, 'x', MIB), signal)).toBe(true);
    expect(await filesystems.isBlank(fileOf(4096), signal)).toBe(true);
    expect(await filesystems.isBlank(fileOf(MIB, 'x'.repeat(MIB)), signal)).toBe(false);
  });

  test(`isBlank() does not count what cannot be read as zeros, ${how}`, async () => {
    const filesystems = new SystemFilesystems(exec, await quick());
    expect(await filesystems.isBlank({ ...fileOf(MIB), bytes: 2 * MIB }, signal)).toBe(false);
    await expect(filesystems.isBlank({ path: '/no/such/disk', device: '', bytes: MIB }, signal)).rejects.toThrow(/cannot be read/);
    // The kernel answers reads of it with EIO.
    await expect(filesystems.isBlank({ path: '/proc/self/mem', device: '', bytes: MIB }, signal)).rejects.toThrow(/cannot be read.*error/i);
  });

  test(`usage() gives the sizes of a mounted file system, ${how}`, async () => {
    const { bytes, inodes } = await new SystemFilesystems(exec, await quick()).usage('/', signal);
    expect(bytes.total, JSON.stringify(bytes)).toBeGreaterThanOrEqual(bytes.used + bytes.available);
    expect(inodes.total).toBe(inodes.used + inodes.available);
    await expect(new SystemFilesystems(exec, await quick()).usage('/no/such/path', signal)).rejects.toThrow(
      /usage of \/no\/such\/path cannot be read/,
    );
  });
}

for (const [bytes, blocks] of [
  [4 * MIB, 1024],
  [64 * MIB, 4096],
] as const) {
  test(`format() makes blocks of ${blocks} bytes on a disk of ${bytes / MIB} MiB, and a journal`, async () => {
    const disk = fileOf(bytes);
    const filesystems = new SystemFilesystems(exec);
    await filesystems.format(disk, 'ext4', signal);
    const { stdout } = await exec('dumpe2fs', ['-h', disk.path], { timeoutMs: 10_000 });
    expect(stdout).toMatch(new RegExp(`^Block size: +${blocks}$`, 'm'));
    expect(stdout).toMatch(/^Filesystem features: .*has_journal/m);
    expect(await filesystems.size(disk.path, 'ext4', signal)).toBe(bytes);
  });
}

test('parseBlkid() reads a file system, a partition table, and nothing', () => {
  expect(parseBlkid('DEVNAME=/dev/x\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n')).toStrictEqual({ kind: 'found', type: 'ext4' });
  expect(parseBlkid('DEVNAME=/dev/x\nPTTYPE=gpt\n')).toStrictEqual({ kind: 'found', type: 'a gpt partition table' });
  expect(parseBlkid('')).toStrictEqual({ kind: 'nothing' });
  expect(parseBlkid('DEVNAME=/dev/x\nSOMETHING=1\n').kind).toBe('ambivalent');
});
