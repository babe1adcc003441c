// Runs as root inside a guest whose kernel has device-mapper and XFS: node changed-blocks-inside.ts DISK MOUNT
// DISK is one without data that matters, MOUNT an empty XFS file system with reflink=1 of 300 MiB or more.
import assert from 'node:assert/strict';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instant, Snapshots } from '../../agent/backends/backend.ts';
import type { Range, Ranges } from '../../agent/backends/blocks.ts';
import { FileBackend } from '../../agent/backends/file/backend.ts';
import { LvmCli } from '../../agent/backends/lvm/command/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/command/config.ts';
import { LvmThinBackend } from '../../agent/backends/lvm/thin.ts';
import { Wiper } from '../../agent/backends/lvm/wipe.ts';
import { exec } from '../../run/exec.ts';

const MiB = 1 << 20;
const BLOCK = 4096;
const { signal } = new AbortController();
const [disk = '', mount = ''] = process.argv.slice(2);
const config = lvmConfig({ udev: false });
const LIMIT = { timeoutMs: 60_000 };
const lvm = (command: string, ...args: string[]) => exec(command, ['--config', config, '--yes', ...args], LIMIT);
const hasDevice = (path: string) =>
  stat(path).then(
    (stats) => stats.isBlockDevice(),
    () => false,
  );
const instant: Instant = async (make) => {
  await make();
  return new Date();
};
/** The backend of a process that has just been started. A group whose name has a dash: device-mapper writes it as two. */
const thin = () => {
  const wiper = new Wiper(exec);
  return new LvmThinBackend({ lvm: new LvmCli(exec, config), pool: 'p1', group: 'aoe-blocks', hasDevice, thinPool: 'tp', wiper });
};
const files = () => new FileBackend({ pool: 'p1', directory: join(mount, 'pool'), expected: () => [] });

/** Numbers that are the same at each run. */
let seed = 37;
function random(below: number): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed % below;
}

/** Writes blocks here and there, and gives a part back. */
async function change(
  path: string,
  bytes: number,
  giveBack: (file: FileHandle, offset: number, length: number) => Promise<void>,
): Promise<void> {
  const file = await open(path, 'r+');
  try {
    for (let each = 0; each < 40; each++) {
      const length = BLOCK * (1 + random(20));
      await file.write(Buffer.alloc(length, 1 + random(255)), 0, length, BLOCK * random((bytes - length) / BLOCK));
    }
    await file.sync();
    for (let each = 0; each < 3; each++) await giveBack(file, (MiB / 4) * random(bytes / (MiB / 4) - 2), MiB / 4);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function contentOf(snapshots: Snapshots, uid: string): Promise<Buffer> {
  const exposed = await snapshots.expose(uid, signal);
  assert.ok(exposed);
  const file = await open(exposed.path, 'r');
  const content = Buffer.alloc(exposed.bytes);
  for (let at = 0; at < content.length; at += MiB) await file.read(content, at, Math.min(MiB, content.length - at), at);
  await file.close();
  await snapshots.conceal(uid, signal);
  return content;
}

async function all(ranges: Ranges | undefined): Promise<Range[]> {
  assert.ok(ranges);
  const found: Range[] = [];
  for await (const some of ranges) found.push(...some);
  return found;
}

/** Copies ranges of one image onto another. */
function apply(ranges: readonly Range[], from: Buffer, onto: Buffer): Buffer {
  const image = Buffer.concat([onto], from.length);
  for (const { offset, bytes } of ranges) from.copy(image, offset, offset, Math.min(offset + bytes, from.length));
  return image;
}

const bytesOf = (ranges: readonly Range[]) => ranges.reduce((sum, { bytes }) => sum + bytes, 0);

/** Each snapshot is what was written of it, and each later one is an earlier one with what has changed. */
async function check(what: string, backend: () => { snapshots: Snapshots }, uids: readonly string[]): Promise<void> {
  const images: Buffer[] = [];
  for (const uid of uids) images.push(await contentOf(backend().snapshots, uid));
  for (const [later, uid] of uids.entries()) {
    const image = images[later] as Buffer;
    const allocated = await all(backend().snapshots.blocks?.allocated(uid, 0, signal));
    assert.ok(apply(allocated, image, Buffer.alloc(0)).equals(image), `${what}: all of ${uid} is allocated`);
    assert.ok(bytesOf(allocated) < image.length / 1.2, `${what}: not all of ${uid} was written`);
    for (const [earlier, base] of uids.slice(0, later).entries()) {
      const changed = await all(backend().snapshots.blocks?.changed(base, uid, 0, signal));
      assert.ok(apply(changed, image, images[earlier] as Buffer).equals(image), `${what}: ${base} and the changes are ${uid}`);
      if (earlier === later - 1) assert.ok(bytesOf(changed) < image.length / 1.2, `${what}: not all has changed from ${base} to ${uid}`);
      const half = image.length / 2;
      const rest = await all(backend().snapshots.blocks?.changed(base, uid, half, signal));
      const behind = (ranges: readonly Range[]) =>
        ranges.flatMap(({ offset, bytes }) => (offset + bytes > half ? [[Math.max(offset, half), offset + bytes]] : []));
      assert.deepEqual(behind(rest), behind(changed), `${what}: the same from the middle on`);
    }
  }
  console.log(`TIMING ${what}: ${uids.length} snapshots compared`);
}

for (const module of ['dm-mod', 'dm-thin-pool']) await exec('modprobe', [module], LIMIT);
await lvm('vgcreate', 'aoe-blocks', disk);
try {
  await lvm('lvcreate', '--type', 'thin-pool', '-L', '128M', '--chunksize', '64k', '-n', 'tp', 'aoe-blocks');
  await thin().create({ uid: 't-1', name: 'pvc-1', bytes: 32 * MiB }, signal);
  const discard = async (_file: FileHandle, offset: number, length: number): Promise<void> => {
    await exec('blkdiscard', ['--offset', String(offset), '--length', String(length), thin().path('t-1')], LIMIT);
  };
  const uids = ['s-0', 's-1', 's-2', 's-3'];
  for (const [each, uid] of uids.entries()) {
    if (each === 2) await thin().growth.grow('t-1', 48 * MiB, signal);
    if (each > 0) await change(thin().path('t-1'), each < 2 ? 32 * MiB : 48 * MiB, discard);
    await thin().snapshots.take({ uid, name: uid, volumeUID: 't-1' }, instant, signal);
  }
  assert.deepEqual(await all(thin().snapshots.blocks.allocated('s-0', 0, signal)), [], 'nothing was written before the first');
  await check('thin', thin, uids.slice(1));
  assert.ok((await all(thin().snapshots.blocks.changed('s-0', 's-1', 0, signal))).length > 0);

  const pool = 'aoe--blocks-tp-tpool';
  const held = async () => (await exec('dmsetup', ['status', pool], LIMIT)).stdout.split(' ')[6] !== '-';
  assert.equal(await held(), false, 'nothing is held when nobody reads');
  // Two readers at once, of one process.
  const one = thin();
  const both = await Promise.all(['s-1', 's-2'].map((uid) => all(one.snapshots.blocks.allocated(uid, 0, signal))));
  assert.ok(both.every((ranges) => ranges.length > 0));
  // A reader that leaves in the middle.
  for await (const _ of one.snapshots.blocks.allocated('s-3', 0, signal)) {
    assert.equal(await held(), true);
    break;
  }
  assert.equal(await held(), false);
  // What a crash left does not show an old state, and is released with or without a reader.
  await exec('dmsetup', ['message', pool, '0', 'reserve_metadata_snap'], LIMIT);
  await change(thin().path('t-1'), 48 * MiB, discard);
  await thin().snapshots.take({ uid: 's-4', name: 's-4', volumeUID: 't-1' }, instant, signal);
  await check('thin, after a crash', thin, ['s-3', 's-4']);
  await exec('dmsetup', ['message', pool, '0', 'reserve_metadata_snap'], LIMIT);
  await thin().snapshots.blocks.recover(signal);
  assert.equal(await held(), false);
  // After a restart of the node, only what is used is active.
  await thin().remove('t-1', signal);
  await exec('vgchange', ['--config', config, '--activate', 'n', 'aoe-blocks'], LIMIT);
  await thin().snapshots.blocks.recover(signal);
  await check('thin, inactive', thin, ['s-2', 's-4']);
  await assert.rejects(all(thin().snapshots.blocks.changed('s-2', 's-9', 0, signal)), { reason: 'SnapshotLost' });

  await files().create({ uid: 'f-1', name: 'pvc-1', bytes: 32 * MiB });
  const punch = async (_file: FileHandle, offset: number, length: number): Promise<void> => {
    await exec('fallocate', ['--punch-hole', '--offset', String(offset), '--length', String(length), files().path('f-1')], LIMIT);
  };
  for (const [each, uid] of ['s-1', 's-2', 's-3'].entries()) {
    if (each === 1) await files().growth.grow('f-1', 48 * MiB, signal);
    await change(files().path('f-1'), each < 1 ? 32 * MiB : 48 * MiB, punch);
    if (each === 2) await exec('fallocate', ['--offset', String(40 * MiB), '--length', String(2 * MiB), files().path('f-1')], LIMIT);
    await files().snapshots.take({ uid, name: uid, volumeUID: 'f-1' }, instant, signal);
  }
  await check('files', files, ['s-1', 's-2', 's-3']);
  // More pieces than one call of the kernel tells.
  const file = await open(files().path('f-1'), 'r+');
  for (let each = 0; each < 1500; each++) await file.write(Buffer.alloc(BLOCK, 7), 0, BLOCK, each * 4 * BLOCK);
  await file.sync();
  await file.close();
  await files().snapshots.take({ uid: 's-4', name: 's-4', volumeUID: 'f-1' }, instant, signal);
  await check('files in pieces', files, ['s-3', 's-4']);
} catch (error) {
  console.log(error);
  process.exitCode = 1;
} finally {
  await lvm('vgremove', '--force', 'aoe-blocks');
}
