// Runs as root inside a guest whose kernel has device-mapper, on a disk without data that matters: node lvm-snapshots-inside.ts /dev/loop0
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Instant } from '../../agent/backends/backend.ts';
import { LvmCli } from '../../agent/backends/lvm/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/config.ts';
import { LvmThinBackend } from '../../agent/backends/lvm/thin.ts';
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
/** The backend of a process that has just been started. */
const thin = () => new LvmThinBackend({ lvm: new LvmCli(run, config), pool: 'p1', group: 'aoesnap', hasDevice, thinPool: 'tp' });

async function fill(path: string, byte: number): Promise<void> {
  const file = await open(path, 'r+');
  for (let each = 0; each < 4; each++) await file.write(Buffer.alloc(MiB, byte), 0, MiB, each * MiB);
  await file.sync();
  await file.close();
}

async function first4(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(4 * MiB), 0, 4 * MiB, 0);
  await file.close();
  return buffer;
}

for (const module of ['dm-mod', 'dm-thin-pool']) await call('modprobe', [module]);
await lvm('vgcreate', 'aoesnap', disk);
try {
  await lvm('lvcreate', '--type', 'thin-pool', '-L', '128M', '-n', 'tp', 'aoesnap');
  await thin().create({ uid: 't-1', name: 'pvc-1', bytes: 16 * MiB }, signal);
  await fill(thin().path('t-1'), 1);
  const before = await thin().measure(signal);
  const instant: Instant = async (make) => {
    const started = performance.now();
    await make();
    console.log(`TIMING thin snapshot: held for ${(performance.now() - started).toFixed(0)} ms`);
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
} finally {
  await lvm('vgremove', '--force', 'aoesnap');
}
