// Runs as root inside a guest whose kernel has device-mapper, on a disk without data that matters: node lvm-snapshots-inside.ts /dev/loop0
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Instant } from '../../agent/backends/backend.ts';
import { createEmpty } from '../../agent/backends/create-empty.ts';
import { LvmCli } from '../../agent/backends/lvm/command/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/command/config.ts';
import { LvmLinearBackend } from '../../agent/backends/lvm/linear.ts';
import { LvmThinBackend } from '../../agent/backends/lvm/thin.ts';
import { Wiper } from '../../agent/backends/lvm/wipe.ts';
import type { Exec } from '../../run/exec.ts';

const MiB = 1 << 20;
const { signal } = new AbortController();
const call = promisify(execFile);
const disk = process.argv[2] ?? '';
const config = lvmConfig({ udev: false });
const run: Exec = (command, args, { timeoutMs }) => call(command, args, { timeout: timeoutMs });
const lvm = (command: string, ...args: string[]) => call(command, ['--config', config, '--yes', ...args]);
const hasDevice = (path: string) =>
  stat(path).then(
    (stats) => stats.isBlockDevice(),
    () => false,
  );
const common = () => ({ lvm: new LvmCli(run, config), group: 'aoesnap', hasDevice, wiper: new Wiper(run) });
/** The backend of a process that has just been started. */
const thin = () => new LvmThinBackend({ ...common(), pool: 'p1', thinPool: 'tp' });

const thick = () => new LvmLinearBackend({ ...common(), pool: 'p2' });

async function fill(path: string, byte: number): Promise<void> {
  const file = await open(path, 'r+');
  for (let each = 0; each < 4; each++) await file.write(Buffer.alloc(MiB, byte), 0, MiB, each * MiB);
  await file.sync();
  await file.close();
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += MiB) await file.write(bytes, at, Math.min(MiB, bytes.length - at), at);
  await file.sync();
}

async function first4(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(4 * MiB), 0, 4 * MiB, 0);
  await file.close();
  return buffer;
}

for (const module of ['dm-mod', 'dm-thin-pool', 'dm-snapshot']) await call('modprobe', [module]);
await lvm('vgcreate', 'aoesnap', disk);
/** A program that has a volume open, as the target has. */
let user: FileHandle | undefined;
try {
  await lvm('lvcreate', '--type', 'thin-pool', '-L', '128M', '-n', 'tp', 'aoesnap');
  await thin().create({ uid: 't-1', name: 'pvc-1', bytes: 16 * MiB }, signal);
  await fill(thin().path('t-1'), 1);
  const before = await thin().measure(signal);
  let what = 'thin';
  const instant: Instant = async (make) => {
    const started = performance.now();
    await make();
    console.log(`TIMING ${what} snapshot: held for ${(performance.now() - started).toFixed(0)} ms`);
    return new Date();
  };
  const taken = await thin().snapshots.take({ uid: 's-1', name: 'snap-1', volumeUID: 't-1' }, instant, signal);
  assert.equal(taken.name, 'aoesnap/aoe-snap-s-1');
  const reserved = before.free - (await thin().measure(signal)).free;
  assert.ok(reserved >= 4 * MiB && reserved < 5 * MiB, `${reserved} bytes are reserved`);

  await fill(thin().path('t-1'), 2);
  await thin().remove('t-1', signal);
  assert.deepEqual(await thin().snapshots.list(signal), [taken]);
  assert.equal(await thin().snapshots.restore({ uid: 't-2', name: 'pvc-2', bytes: 24 * MiB }, 's-1', signal), true);
  assert.equal((await thin().open('t-2', signal))?.bytes, 24 * MiB);
  await thin().snapshots.remove('s-1', signal);
  assert.ok((await first4(thin().path('t-2'))).every((byte) => byte === 1));
  await thin().remove('t-2', signal);
  assert.deepEqual([await thin().snapshots.list(signal), (await thin().measure(signal)).free], [[], before.free + 16 * MiB]);

  // A volume with a tail: what a mirror would have there is neither in a growth of it, nor in what is made of its snapshot.
  const TAIL = Buffer.alloc(4 * MiB, 0x77);
  const writeTail = async (uid: string, at: number) => {
    const file = await open(thin().path(uid), 'r+');
    await file.write(TAIL, 0, TAIL.length, at);
    await file.sync();
    await file.close();
  };
  const readAt = async (uid: string, at: number) => {
    const file = await open(thin().path(uid), 'r');
    const { buffer } = await file.read(Buffer.alloc(4 * MiB), 0, 4 * MiB, at);
    await file.close();
    return buffer;
  };
  await thin().create({ uid: 't-3', name: 'pvc-3', bytes: 16 * MiB, tail: true }, signal);
  await fill(thin().path('t-3'), 1);
  await writeTail('t-3', 16 * MiB);
  const tailed = await thin().snapshots.take({ uid: 's-3', name: 'snap-3', volumeUID: 't-3' }, instant, signal);
  assert.equal(tailed.bytes, 16 * MiB);
  assert.equal((await thin().growth.grow('t-3', 24 * MiB, signal)).bytes, 24 * MiB);
  assert.ok((await first4(thin().path('t-3'))).every((byte) => byte === 1));
  for (const at of [16, 20, 24])
    assert.ok(
      (await readAt('t-3', at * MiB)).every((byte) => byte === 0),
      `zeros at ${at} MiB`,
    );
  for (const bytes of [16 * MiB, 20 * MiB]) {
    assert.equal(await thin().snapshots.restore({ uid: 't-4', name: 'pvc-4', bytes, tail: true }, 's-3', signal), true);
    const restored = await thin().open('t-4', signal);
    assert.deepEqual([restored?.bytes, restored?.tail, restored?.extended], [bytes, 4 * MiB, undefined]);
    assert.ok((await first4(thin().path('t-4'))).every((byte) => byte === 1));
    for (let at = 16 * MiB; at <= bytes; at += 4 * MiB) assert.ok((await readAt('t-4', at)).every((byte) => byte === 0));
    await thin().remove('t-4', signal);
  }
  await thin().snapshots.remove('s-3', signal);
  await thin().remove('t-3', signal);

  what = 'thick';
  await lvm('lvremove', '--force', 'aoesnap/tp');
  await createEmpty(thick(), { uid: 'v-1', name: 'pvc-1', bytes: 16 * MiB }, signal);
  await fill(thick().path('v-1'), 1);
  const empty = (await thick().measure(signal)).free;
  user = await open(thick().path('v-1'), constants.O_RDWR | constants.O_EXCL);
  const request = { uid: 's-2', name: 'snap-2', volumeUID: 'v-1' };
  const unfinished = await thick().snapshots.take(request, instant, signal);
  assert.equal(unfinished.unfinished, true);
  const blocks = Buffer.alloc(16 * MiB, 2);
  await writeAll(user, blocks);
  await assert.rejects(thick().growth.grow('v-1', 24 * MiB, signal), { reason: 'BackingBusy' });
  await assert.rejects(thick().remove('v-1', signal), { reason: 'BackingBusy' });
  const job = await thick().snapshots.copyOut?.open('s-2', 0, signal);
  assert.ok(job);
  const status = (await lvm('lvs', '--noheadings', '-o', 'data_percent,lv_snapshot_invalid', 'aoesnap/aoe-snap-s-2.cow')).stdout.trim();
  assert.match(status, /^[1-9][0-9.]*$/, 'every block was written, and it is not full');
  await assert.rejects(call('dd', ['if=/dev/zero', `of=${job.source}`, 'bs=4096', 'count=1', 'conv=notrunc']), 'it never changes');
  await call('dd', [`if=${job.source}`, `of=${job.destination}`, 'bs=1M', 'iflag=direct', 'oflag=direct', 'conv=notrunc']);
  const started = performance.now();
  const whole = await thick().snapshots.copyOut?.finish('s-2', signal);
  console.log(`TIMING thick snapshot: copy-on-write snapshot removed in ${(performance.now() - started).toFixed(0)} ms`);
  assert.deepEqual(await thick().snapshots.list(signal), [whole]);
  assert.equal(empty - (await thick().measure(signal)).free, 16 * MiB);
  // The user goes on with what it has open.
  await writeAll(user, blocks.fill(3));
  await user.close();
  user = undefined;
  assert.ok((await first4(thick().path('v-1'))).every((byte) => byte === 3));
  assert.equal((await thick().growth.grow('v-1', 24 * MiB, signal)).bytes, 24 * MiB);
  await thick().remove('v-1', signal);
  const exposed = await thick().snapshots.expose('s-2', signal);
  assert.ok((await first4(exposed?.path ?? '')).every((byte) => byte === 1));
  await thick().snapshots.conceal('s-2', signal);
  await thick().snapshots.remove('s-2', signal);

  // What a process left that ended between the commands is removed with the volume, and by the next command.
  await createEmpty(thick(), { uid: 'v-2', name: 'pvc-2', bytes: 8 * MiB }, signal);
  const [half] = await thick().snapshots.prepare([{ ...request, volumeUID: 'v-2' }], signal);
  await half?.make();
  assert.equal(await thick().snapshots.find('s-2', signal), undefined);
  await thick().remove('v-2', signal);
  assert.deepEqual((await lvm('lvs', '--noheadings', '-o', 'lv_name', 'aoesnap')).stdout.trim(), 'aoe-snap-s-2', 'its copy is left');
  await thick().snapshots.remove('s-2', signal);
  assert.deepEqual((await lvm('lvs', '--noheadings', 'aoesnap')).stdout.trim(), '');
} catch (error) {
  console.log(error);
  process.exitCode = 1;
} finally {
  await user?.close();
  await lvm('vgremove', '--force', 'aoesnap');
}
