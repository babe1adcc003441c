import assert from 'node:assert/strict';
import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { exec } from '../../../run/exec.ts';
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

test('isBlank() reads the first and the last MiB', async () => {
  const filesystems = new SystemFilesystems(exec);
  assert.equal(await filesystems.isBlank(fileOf(3 * MIB), signal), true);
  assert.equal(await filesystems.isBlank(fileOf(3 * MIB, 'x', MIB - 1), signal), false);
  assert.equal(await filesystems.isBlank(fileOf(3 * MIB, '\xff', 3 * MIB - 2), signal), false);
  assert.equal(await filesystems.isBlank(fileOf(3 * MIB, 'x', MIB), signal), true);
  assert.equal(await filesystems.isBlank(fileOf(4096), signal), true);
});

test('isBlank() does not count what cannot be read as zeros', async () => {
  const filesystems = new SystemFilesystems(exec);
  assert.equal(await filesystems.isBlank({ ...fileOf(MIB), bytes: 2 * MIB }, signal), false);
  await assert.rejects(filesystems.isBlank({ path: '/no/such/disk', device: '', bytes: MIB }, signal), /cannot be read/);
});

test('usage() gives the sizes of a mounted file system', async () => {
  const { bytes, inodes } = await new SystemFilesystems(exec).usage('/', signal);
  assert.ok(bytes.total >= bytes.used + bytes.available, JSON.stringify(bytes));
  assert.equal(inodes.total, inodes.used + inodes.available);
  await assert.rejects(new SystemFilesystems(exec).usage('/no/such/path', signal), /usage of \/no\/such\/path cannot be read/);
});

test('parseBlkid() reads a file system, a partition table, and nothing', () => {
  assert.deepEqual(parseBlkid('DEVNAME=/dev/x\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n'), { kind: 'found', type: 'ext4' });
  assert.deepEqual(parseBlkid('DEVNAME=/dev/x\nPTTYPE=gpt\n'), { kind: 'found', type: 'a gpt partition table' });
  assert.deepEqual(parseBlkid(''), { kind: 'nothing' });
  assert.equal(parseBlkid('DEVNAME=/dev/x\nSOMETHING=1\n').kind, 'ambivalent');
});
