// Runs as root inside a guest whose kernel has device-mapper, on a disk without data that matters and an empty directory:
//   node adoption-inside.ts /dev/loop0 /dev/shm/pool /mnt/x
// With --die-before or --die-after it is the child that adopts aoeadopt/crash, or gives it back, and kills itself at a command.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { open, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { FileBackend } from '../../agent/backends/file/backend.ts';
import { LvmCli } from '../../agent/backends/lvm/command/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/command/config.ts';
import { Wiper } from '../../agent/backends/lvm/wipe.ts';
import { BackendRegistry } from '../../agent/backends/registry.ts';
import type { AoEPool, AoEPoolSpec } from '../../api/pool.ts';
import type { Exec } from '../../run/exec.ts';

const MiB = 1 << 20;
const GROUP = 'aoeadopt';
const call = promisify(execFile);
const signal = AbortSignal.timeout(500_000);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { release: { type: 'boolean' }, 'die-after': { type: 'string' }, 'die-before': { type: 'string' } },
});

let changes = 0;
const run: Exec = async (command, args, { timeoutMs }) => {
  const step = command === 'vgs' ? '' : String(++changes);
  if (values['die-before'] === step) process.kill(process.pid, 'SIGKILL');
  const result = await call(command, args, { timeout: timeoutMs });
  if (values['die-after'] === step) process.kill(process.pid, 'SIGKILL');
  return result;
};
const hasDevice = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isBlockDevice(),
    () => false,
  );

/** The backend of a process that has just been started. */
function backendOf(spec: AoEPoolSpec): ReturnType<BackendRegistry['of']> {
  const lvm = new LvmCli(run, lvmConfig({ udev: false }));
  const backends = new BackendRegistry({ lvm, wiper: new Wiper(run), hasDevice, expected: () => [] });
  return backends.of({ apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name: 'p1' }, spec } as AoEPool);
}
const thick = () => backendOf({ backend: 'lvm', volumeGroup: GROUP });
const thin = () => backendOf({ backend: 'lvm-thin', volumeGroup: GROUP, thinPool: 'tp' });
const lvm = (command: string, ...args: string[]) => call(command, ['--config', lvmConfig({ udev: false }), '--yes', ...args]);
const adopt = (backend: ReturnType<typeof thick>, uid: string, from: string, bytes = 32 * MiB) => {
  assert.ok(backend.adoption);
  return backend.adoption.adopt({ uid, name: `v-${uid}`, bytes, from }, async () => undefined, signal);
};

/** Names with tags of all logical volumes. */
async function volumes(): Promise<string[]> {
  const { stdout } = await lvm('lvs', '--noheadings', '--separator', '|', '-o', 'lv_name,lv_tags', GROUP);
  return stdout.trim().split(/\s+/).sort();
}

async function content(path: string): Promise<string> {
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(16), 0, 16, MiB);
  await file.close();
  return buffer.toString('latin1').replaceAll('\0', '');
}

async function write(path: string, text: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(Buffer.from(text), 0, text.length, MiB);
  await file.sync();
  await file.close();
}

async function inParent(disk: string, directory: string, mountPoint: string): Promise<void> {
  for (const module of ['dm-mod', 'dm-thin-pool', 'dm-snapshot']) await call('modprobe', [module]);
  await lvm('vgremove', '--force', GROUP).catch(() => {});
  await lvm('vgcreate', GROUP, disk);
  try {
    await timed('logical volumes', () => logicalVolumes(mountPoint));
    await timed('crashes', crashes);
    await timed('thin volumes', thinVolumes);
  } finally {
    await lvm('vgremove', '--force', GROUP);
  }
  await timed('files', () => files(directory, mountPoint));
}

async function timed(what: string, work: () => Promise<void>): Promise<void> {
  const started = performance.now();
  await work();
  console.log(`TIMING ${what}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

async function logicalVolumes(mountPoint: string): Promise<void> {
  await lvm('lvcreate', '-L', '32M', '-n', 'old', '--addtag', 'mine', GROUP);
  const [old, ours] = [`/dev/${GROUP}/old`, `/dev/${GROUP}/aoe-u-1`];
  await call('mkfs.ext4', ['-q', old]);
  await call('mount', [old, mountPoint]);
  await writeFile(join(mountPoint, 'marker'), 'was there before');
  await assert.rejects(adopt(thick(), 'u-1', 'old'), { reason: 'AdoptionInUse' });
  await call('umount', [mountPoint]);
  // By a process alone, and by another device alone.
  const held = await open(old, 'r');
  await assert.rejects(adopt(thick(), 'u-1', 'old'), { reason: 'AdoptionInUse' });
  await held.close();
  await call('dmsetup', ['create', 'adopt-child', '--table', `0 2048 linear ${old} 0`]);
  await assert.rejects(adopt(thick(), 'u-1', 'old'), { reason: 'AdoptionInUse' });
  await call('dmsetup', ['remove', 'adopt-child']);
  await assert.rejects(adopt(thick(), 'u-1', 'old', 36 * MiB), { reason: 'AdoptionSize' });
  await lvm('lvcreate', '-s', '-L', '8M', '-n', 'cow', `${GROUP}/old`);
  await assert.rejects(adopt(thick(), 'u-1', 'cow'), { reason: 'NotAdoptable' });
  await assert.rejects(adopt(thick(), 'u-1', 'old'), { reason: 'NotAdoptable' });
  await lvm('lvremove', `${GROUP}/cow`);
  assert.deepEqual(await volumes(), ['old|mine']);

  // Also one that is not active.
  await lvm('lvchange', '-an', `${GROUP}/old`);
  assert.equal((await adopt(thick(), 'u-1', 'old')).adopted, `${GROUP}/old`);
  assert.equal(await hasDevice(old), false);
  await call('mount', ['-o', 'ro', ours, mountPoint]);
  const { stdout } = await call('cat', [join(mountPoint, 'marker')]);
  assert.equal(stdout, 'was there before');
  await call('umount', [mountPoint]);
  assert.equal((await thick().growth?.grow('u-1', 40 * MiB, signal))?.bytes, 40 * MiB);
  await thick().retain('u-1', signal);
  assert.deepEqual(await volumes(), ['old|mine']);
  await call('e2fsck', ['-fn', old]);
  await lvm('lvremove', `${GROUP}/old`);
}

/** Kills a process between two commands of an adoption, and of a release: those before and after each are in agent/backends/lvm/adoption.test.ts. */
async function crashes(): Promise<void> {
  await lvm('lvcreate', '-L', '32M', '-n', 'crash', GROUP);
  await write(`/dev/${GROUP}/crash`, 'kept');
  for (const { kill, release } of [
    { kill: ['--die-after', '1'], release: false },
    { kill: ['--die-before', '3'], release: false },
    { kill: ['--die-after', '1'], release: true },
  ]) {
    if (release) await adopt(thick(), 'u-2', 'crash');
    const args = [import.meta.filename, ...kill, ...(release ? ['--release'] : [])];
    const { signal: killed, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(killed, 'SIGKILL', `${kill.join(' ')}: ${stderr}`);
    if (!release) assert.equal((await adopt(thick(), 'u-2', 'crash')).name, `${GROUP}/aoe-u-2`);
    await thick().retain('u-2', signal);
    assert.deepEqual(await volumes(), ['crash|']);
    assert.equal(await content(`/dev/${GROUP}/crash`), 'kept');
  }
  await lvm('lvremove', `${GROUP}/crash`);
}

async function thinVolumes(): Promise<void> {
  await lvm('lvcreate', '--type', 'thin-pool', '-L', '64M', '-n', 'tp', GROUP);
  await lvm('lvcreate', '-V', '32M', '--thinpool', 'tp', '-n', 'old', GROUP);
  await write(`/dev/${GROUP}/old`, 'thin');
  await lvm('lvcreate', '-s', '-kn', '-n', 'snap', `${GROUP}/old`);
  for (const from of ['tp', 'snap']) await assert.rejects(adopt(thin(), 'u-3', from), { reason: 'NotAdoptable' });
  await assert.rejects(adopt(thick(), 'u-3', 'old'), { reason: 'NotAdoptable' });
  await adopt(thin(), 'u-3', 'old');
  assert.equal(await content(`/dev/${GROUP}/aoe-u-3`), 'thin');
  await thin().retain('u-3', signal);
  assert.equal(await content(`/dev/${GROUP}/old`), 'thin');
  assert.deepEqual(await volumes(), ['old|', 'snap|', 'tp|']);
}

async function files(directory: string, mountPoint: string): Promise<void> {
  const pool = () => new FileBackend({ pool: 'p1', directory, expected: () => [], reserve: '0' });
  const old = join(directory, 'old.raw');
  await call('truncate', ['-s', '32M', old]);
  await call('mkfs.ext4', ['-q', old]);
  await call('mount', ['-o', 'loop', old, mountPoint]);
  await writeFile(join(mountPoint, 'marker'), 'was there before');
  await assert.rejects(adopt(pool(), 'u-4', 'old.raw'), { reason: 'AdoptionInUse' });
  await call('umount', [mountPoint]);
  const adopted = await adopt(pool(), 'u-4', 'old.raw');
  assert.equal(adopted.adopted, old);
  await pool().retain('u-4');
  await call('mount', ['-o', 'loop,ro', old, mountPoint]);
  assert.equal((await call('cat', [join(mountPoint, 'marker')])).stdout, 'was there before');
  await call('umount', [mountPoint]);
  assert.deepEqual((await readdir(directory)).sort(), ['.aoe-pool', 'old.raw']);
}

if (values['die-before'] === undefined && values['die-after'] === undefined) {
  const [disk = '', directory = '', mountPoint = ''] = positionals;
  await inParent(disk, directory, mountPoint);
} else if (values.release) await thick().retain('u-2', signal);
else await adopt(thick(), 'u-2', 'crash');
