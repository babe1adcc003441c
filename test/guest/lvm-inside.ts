// Runs as root inside a guest whose kernel has device-mapper, on two disks without data that matters:
//   node lvm-inside.ts /dev/ubda /dev/ubdb
// With --create UID it is the child that makes one volume and kills itself at a step.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { open, stat } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { parseArgs, promisify } from 'node:util';
import { createEmpty } from '../../agent/backends/create-empty.ts';
import { LvmCli } from '../../agent/backends/lvm/command/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/command/config.ts';
import { LvmLinearBackend } from '../../agent/backends/lvm/linear.ts';
import { Wiper } from '../../agent/backends/lvm/wipe.ts';
import { BackendRegistry } from '../../agent/backends/registry.ts';
import type { AoEPool, AoEPoolSpec } from '../../api/pool.ts';
import type { Exec } from '../../run/exec.ts';

const MiB = 1 << 20;
const call = promisify(execFile);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { grow: { type: 'string' }, create: { type: 'string' }, 'die-after': { type: 'string' }, 'die-before': { type: 'string' } },
});

const timings: { what: string; ms: number }[] = [];
const calls: string[] = [];
const run: Exec = async (command, args, { timeoutMs, signal }) => {
  const wipes = command === 'fallocate' || command === 'blkdiscard';
  const what = wipes ? 'wipe' : [...new Set([command, ...args.filter((arg) => /^(--deltag|--activate)$/.test(arg))])].join(' ');
  if (values['die-before'] === what) process.kill(process.pid, 'SIGKILL');
  const started = performance.now();
  calls.push(what);
  const result = await call(command, args, { timeout: timeoutMs, ...(signal ? { signal } : {}) });
  timings.push({ what, ms: performance.now() - started });
  if (values['die-after'] === what) process.kill(process.pid, 'SIGKILL');
  return result;
};
const signal = AbortSignal.timeout(800_000);
const hasDevice = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isBlockDevice(),
    () => false,
  );

function backendOf(spec: AoEPoolSpec, pool = 'p1'): ReturnType<BackendRegistry['of']> {
  const backends = new BackendRegistry({
    lvm: new LvmCli(run, lvmConfig({ udev: false })),
    wiper: new Wiper(run),
    hasDevice,
    expected: () => [],
  });
  return backends.of({ apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name: pool }, spec } as AoEPool);
}
const thick = () => backendOf({ backend: 'lvm', volumeGroup: 'aoetest' });
const thin = (more: object = {}) => backendOf({ backend: 'lvm-thin', volumeGroup: 'aoetest2', thinPool: 'tp', ...more });

async function read(path: string, at: number, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    await file.read(buffer, 0, bytes, at);
    return buffer;
  } finally {
    await file.close();
  }
}

async function fill(path: string, bytes: number, byte: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const block = Buffer.alloc(MiB, byte);
    for (let at = 0; at < bytes; at += MiB) await file.write(block, 0, MiB, at);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function tagsOf(name: string): Promise<string[]> {
  const { stdout } = await call('lvs', ['--config', lvmConfig({ udev: false }), '--noheadings', '-o', 'lv_tags', name]);
  return stdout.trim().split(',');
}

if (values.grow) {
  await thick().growth?.grow(values.grow, 24 * MiB, signal);
} else if (values.create) {
  await createEmpty(thick(), { uid: values.create, name: 'pvc-crash', bytes: 8 * MiB }, signal);
} else {
  const [disk1 = '', disk2 = ''] = positionals;
  const lvm = (command: string, ...args: string[]) => call(command, ['--config', lvmConfig({ udev: false }), '--yes', ...args]);

  before(async () => {
    for (const module of ['dm-mod', 'dm-thin-pool']) await call('modprobe', [module]);
    for (const group of ['aoetest', 'aoetest2']) await lvm('vgremove', '--force', group).catch(() => {});
    await lvm('vgcreate', 'aoetest', disk1);
    await lvm('vgcreate', 'aoetest2', disk2);
    await lvm('lvcreate', '--type', 'thin-pool', '-L', '128M', '-n', 'tp', 'aoetest2');
  });
  after(async () => {
    for (const group of ['aoetest', 'aoetest2']) await lvm('vgremove', '--force', group).catch(() => {});
    const by = Map.groupBy(timings, ({ what }) => what);
    for (const [what, all] of by) {
      const sorted = all.map(({ ms }) => ms).sort((a, b) => a - b);
      console.log(`TIMING ${what}: median ${sorted[sorted.length >> 1]?.toFixed(0)} ms of ${sorted.length}`);
    }
  });

  test('a volume is made, found by another process, and removed', async () => {
    calls.length = 0;
    const backend = thick();
    const started = performance.now();
    const made = await createEmpty(backend, { uid: 'u-1', name: 'pvc-one.x', bytes: 10 * MiB }, signal);
    console.log(`TIMING first create of a process: ${(performance.now() - started).toFixed(0)} ms: ${calls.join(', ')}`);
    // How far it was wiped depends on the disks of the guest.
    const { cleanness, ...rest } = made;
    assert.deepEqual(rest, { uid: 'u-1', volume: 'pvc-one.x', name: 'aoetest/aoe-u-1', bytes: 12 * MiB });
    const wiped = cleanness ? [`aoe.dev/wiped=${cleanness}`] : [];
    assert.deepEqual(await tagsOf('aoetest/aoe-u-1'), ['aoe.dev', 'aoe.dev/pool=p1', 'aoe.dev/volume=pvc-one.x', ...wiped]);
    calls.length = 0;
    const again = performance.now();
    await createEmpty(backend, { uid: 'u-1b', name: 'pvc-one.b', bytes: 10 * MiB }, signal);
    console.log(`TIMING next create: ${(performance.now() - again).toFixed(0)} ms: ${calls.join(', ')}`);
    assert.deepEqual((await thick().measure(signal)).volumes.map(({ uid }) => uid).sort(), ['u-1', 'u-1b']);
    await thick().remove('u-1', signal);
    await thick().remove('u-1b', signal);
    await thick().remove('u-1', signal);
    assert.deepEqual((await thick().measure(signal)).volumes, []);
  });

  test('size, free and granularity count ours and leave out what others keep', async () => {
    const empty = await thick().measure(signal);
    assert.equal(empty.ready, true);
    assert.equal(empty.granularity, 4 * MiB);
    await lvm('lvcreate', '-L', '16M', '-n', 'other', 'aoetest');
    await createEmpty(thick(), { uid: 'u-2', name: 'pvc-two', bytes: 8 * MiB }, signal);
    const full = await thick().measure(signal);
    assert.equal(full.size, empty.size - 16 * MiB);
    assert.equal(full.free, full.size - 8 * MiB);
    await thick().remove('u-2', signal);
    await lvm('lvremove', 'aoetest/other');
  });

  test('nothing of an earlier volume shows in a new one', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-old', name: 'pvc-old', bytes: 8 * MiB }, signal);
    await fill(backend.path('u-old'), 8 * MiB, 0xab);
    await backend.remove('u-old', signal);
    await createEmpty(backend, { uid: 'u-new', name: 'pvc-new', bytes: 8 * MiB }, signal);
    for (const at of [0, 3 * MiB, 7 * MiB])
      assert.ok(
        (await read(backend.path('u-new'), at, MiB)).every((byte) => byte === 0),
        `at ${at}`,
      );
    await backend.remove('u-new', signal);
  });

  for (const [option, step] of [
    ['die-before', 'lvcreate'],
    ['die-after', 'lvcreate'],
    ['die-before', 'wipe'],
    ['die-after', 'wipe'],
    ['die-before', 'lvchange --deltag'],
    ['die-after', 'lvchange --deltag'],
  ] as const) {
    test(`a crash ${option.slice(4)} ${step} loses nothing and leaves nothing dirty`, async () => {
      const backend = thick();
      await createEmpty(backend, { uid: 'u-old', name: 'pvc-old', bytes: 8 * MiB }, signal);
      await fill(backend.path('u-old'), 8 * MiB, 0xcd);
      await backend.remove('u-old', signal);
      const child = spawnSync(process.execPath, [import.meta.filename, '--create', 'u-crash', `--${option}`, step], { encoding: 'utf8' });
      assert.equal(child.signal, 'SIGKILL', child.stderr);
      const made = await createEmpty(thick(), { uid: 'u-crash', name: 'pvc-crash', bytes: 8 * MiB }, signal);
      assert.equal(made.bytes, 8 * MiB);
      assert.ok(!(await tagsOf('aoetest/aoe-u-crash')).includes('aoe.dev/new'));
      assert.ok((await read(backend.path('u-crash'), 0, 8 * MiB)).every((byte) => byte === 0));
      // Used, then looked at again: never wiped a second time.
      await fill(backend.path('u-crash'), 8 * MiB, 0x11);
      await createEmpty(thick(), { uid: 'u-crash', name: 'pvc-crash', bytes: 8 * MiB }, signal);
      assert.ok(await thick().open('u-crash', signal));
      assert.ok((await read(backend.path('u-crash'), 0, 8 * MiB)).every((byte) => byte === 0x11));
      await thick().remove('u-crash', signal);
    });
  }

  for (const [option, step] of [
    ['die-before', 'lvchange'],
    ['die-after', 'lvchange'],
    ['die-before', 'lvextend'],
    ['die-after', 'lvextend'],
    ['die-before', 'wipe'],
    ['die-after', 'wipe'],
    ['die-before', 'lvchange --deltag'],
    ['die-after', 'lvchange --deltag'],
  ] as const) {
    for (const tail of [undefined, true as const]) {
      test(`a crash ${option.slice(4)} ${step} of a growth ${tail ? 'with' : 'without'} a tail loses nothing, and nothing old is in what may be exported`, async () => {
        const backend = thick();
        await createEmpty(backend, { uid: 'u-old', name: 'pvc-old', bytes: 40 * MiB }, signal);
        await fill(backend.path('u-old'), 40 * MiB, 0xcd);
        await backend.remove('u-old', signal);
        await createEmpty(backend, { uid: 'u-grow', name: 'pvc-grow', bytes: 8 * MiB, ...(tail ? { tail } : {}) }, signal);
        if (tail) await fill(backend.path('u-grow'), 12 * MiB, 0x77);
        await fill(backend.path('u-grow'), 8 * MiB, 0x11);
        const child = spawnSync(process.execPath, [import.meta.filename, '--grow', 'u-grow', `--${option}`, step], { encoding: 'utf8' });
        assert.equal(child.signal, 'SIGKILL', child.stderr);
        const between = await thick().open('u-grow', signal);
        assert.equal(between?.bytes, option === 'die-after' && step === 'lvchange --deltag' ? 24 * MiB : 8 * MiB);
        // As the target has it: in use.
        const user = await open(backend.path('u-grow'), 'r+');
        try {
          assert.equal((await thick().growth?.grow('u-grow', 24 * MiB, signal))?.bytes, 24 * MiB);
        } finally {
          await user.close();
        }
        assert.ok((await read(backend.path('u-grow'), 0, 8 * MiB)).every((byte) => byte === 0x11));
        assert.ok((await read(backend.path('u-grow'), 8 * MiB, 16 * MiB)).every((byte) => byte === 0));
        assert.ok(!(await tagsOf('aoetest/aoe-u-grow')).some((tag) => tag.startsWith('aoe.dev/clean')));
        await thick().remove('u-grow', signal);
      });
    }
  }

  test('a thin volume grows, and its new part reads as zeros', async () => {
    const backend = thin();
    await createEmpty(backend, { uid: 'u-thin', name: 'pvc-thin', bytes: 8 * MiB }, signal);
    await fill(backend.path('u-thin'), 8 * MiB, 0x11);
    assert.equal((await backend.growth?.grow('u-thin', 24 * MiB, signal))?.bytes, 24 * MiB);
    assert.ok((await read(backend.path('u-thin'), 0, 8 * MiB)).every((byte) => byte === 0x11));
    assert.ok((await read(backend.path('u-thin'), 8 * MiB, 16 * MiB)).every((byte) => byte === 0));
    await assert.rejects(async () => backend.growth?.grow('u-thin', 1024 * MiB, signal), { reason: 'PoolFull' });
    await backend.remove('u-thin', signal);
  });

  test('a volume that cannot grow for want of room stays as it is', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-full', name: 'pvc-full', bytes: 8 * MiB }, signal);
    await assert.rejects(async () => backend.growth?.grow('u-full', 1024 * MiB, signal), { reason: 'PoolFull' });
    assert.equal((await backend.open('u-full', signal))?.bytes, 8 * MiB);
    await backend.remove('u-full', signal);
  });

  test('an inactive volume is activated, with its data', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-boot', name: 'pvc-boot', bytes: 8 * MiB }, signal);
    await fill(backend.path('u-boot'), 8 * MiB, 0x77);
    await lvm('vgchange', '-an', 'aoetest');
    assert.equal(await hasDevice(backend.path('u-boot')), false);
    assert.ok(await thick().open('u-boot', signal));
    assert.ok((await read(backend.path('u-boot'), 4 * MiB, MiB)).every((byte) => byte === 0x77));
    // The same with a report that says active.
    await lvm('vgchange', '-an', 'aoetest');
    assert.ok(await backend.open('u-boot', signal));
    await backend.remove('u-boot', signal);
  });

  test('a volume that was removed by hand is missing, and open does not create it again', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-lost', name: 'pvc-lost', bytes: 8 * MiB }, signal);
    await lvm('lvremove', 'aoetest/aoe-u-lost');
    assert.equal(await backend.open('u-lost', signal), undefined);
  });

  test('a logical volume of our name without our mark is not taken', async () => {
    await lvm('lvcreate', '-L', '8M', '-n', 'aoe-u-alien', 'aoetest');
    await assert.rejects(createEmpty(thick(), { uid: 'u-alien', name: 'pvc-alien', bytes: 8 * MiB }, signal), /already exists/);
    await lvm('lvremove', 'aoetest/aoe-u-alien');
  });

  test('a volume in use is not removed, and says so', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-busy', name: 'pvc-busy', bytes: 8 * MiB }, signal);
    const holder = await open(backend.path('u-busy'), 'r');
    await assert.rejects(backend.remove('u-busy', signal), { reason: 'BackingBusy' });
    await holder.close();
    await backend.remove('u-busy', signal);
  });

  test('a retained volume stays and is ours no more', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-keep', name: 'pvc-keep', bytes: 8 * MiB }, signal);
    await backend.retain('u-keep', signal);
    assert.deepEqual((await thick().measure(signal)).volumes, []);
    assert.deepEqual(await tagsOf('aoetest/aoe-u-keep'), ['aoe.dev/pool=p1', 'aoe.dev/retained', 'aoe.dev/volume=pvc-keep']);
    await lvm('lvremove', 'aoetest/aoe-u-keep');
  });

  test('a volume whose mark an administrator has taken off is not removed', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-own', name: 'pvc-own', bytes: 8 * MiB }, signal);
    await lvm('lvchange', '--deltag', 'aoe.dev', 'aoetest/aoe-u-own');
    await backend.remove('u-own', signal);
    assert.ok(await hasDevice(backend.path('u-own')));
    await lvm('lvremove', 'aoetest/aoe-u-own');
  });

  test('nothing of an earlier volume shows where a disk cannot zero itself, and with Ends only the ends are zeroed', async () => {
    const slow = (extent?: 'Ends') => {
      const wiper = new Wiper(run, async () => ({ writeZeroes: false, discard: false, rotational: true }));
      return new LvmLinearBackend({
        lvm: new LvmCli(run, lvmConfig({ udev: false })),
        pool: 'p1',
        group: 'aoetest',
        hasDevice,
        wiper,
        wipeExtent: extent,
      });
    };
    const old = slow();
    for (const extent of [undefined, 'Ends'] as const) {
      await createEmpty(old, { uid: 'u-old', name: 'pvc-old', bytes: 96 * MiB }, signal);
      await fill(old.path('u-old'), 96 * MiB, 0xef);
      await old.remove('u-old', signal);
      const backend = slow(extent);
      const made = await createEmpty(backend, { uid: 'u-new', name: 'pvc-new', bytes: 96 * MiB }, signal);
      assert.equal(made.cleanness, extent && 'ends');
      const found = await read(backend.path('u-new'), 0, 96 * MiB);
      const isZero = (from: number, to: number) => found.subarray(from, to).every((byte) => byte === 0);
      assert.deepEqual([isZero(0, MiB), isZero(95 * MiB, 96 * MiB)], [true, true]);
      assert.equal(isZero(MiB, 95 * MiB), extent === undefined);
      await backend.remove('u-new', signal);
    }
  });

  test('a full group and a missing group have different errors', async () => {
    await assert.rejects(createEmpty(thick(), { uid: 'u-big', name: 'pvc-big', bytes: 2 ** 40 }, signal), { reason: 'PoolFull' });
    const missing = backendOf({ backend: 'lvm', volumeGroup: 'nosuch' });
    await assert.rejects(createEmpty(missing, { uid: 'u-x', name: 'pvc-x', bytes: MiB }, signal), { reason: 'PoolMissing' });
    const measured = await missing.measure(signal);
    assert.equal(measured.ready, false);
    assert.match(measured.message ?? '', /vgcreate nosuch/);
  });

  test('two pools in one group count their own volumes only', async () => {
    const [one, two] = [
      backendOf({ backend: 'lvm', volumeGroup: 'aoetest' }, 'one'),
      backendOf({ backend: 'lvm', volumeGroup: 'aoetest' }, 'two'),
    ];
    await createEmpty(one, { uid: 'u-one', name: 'pvc-one', bytes: 8 * MiB }, signal);
    assert.deepEqual((await two.measure(signal)).volumes, []);
    await one.remove('u-one', signal);
  });

  test('twenty at once are made', async () => {
    const backend = thick();
    const started = performance.now();
    const uids = Array.from({ length: 20 }, (_, index) => `u-many-${index}`);
    await Promise.all(uids.map((uid) => createEmpty(backend, { uid, name: uid, bytes: 4 * MiB }, signal)));
    console.log(`TIMING 20 at once: ${(performance.now() - started).toFixed(0)} ms`);
    assert.equal((await backend.measure(signal)).volumes.length, 20);
    const again = performance.now();
    await Promise.all(uids.map((uid) => backend.remove(uid, signal)));
    console.log(`TIMING 20 at once removed: ${(performance.now() - again).toFixed(0)} ms`);
    assert.deepEqual((await thick().measure(signal)).volumes, []);
  });

  test('thin volumes are made, promised in full, and found again', async () => {
    const backend = thin();
    await createEmpty(backend, { uid: 't-0', name: 'pvc-t0', bytes: 4 * MiB }, signal);
    calls.length = 0;
    const started = performance.now();
    const made = await createEmpty(backend, { uid: 't-1', name: 'pvc-t1', bytes: 48 * MiB }, signal);
    console.log(`TIMING thin create: ${(performance.now() - started).toFixed(0)} ms: ${calls.join(', ')}`);
    assert.equal(made.bytes, 48 * MiB);
    const measured = await backend.measure(signal);
    assert.equal(measured.size, 128 * MiB);
    assert.equal(measured.free, 76 * MiB);
    assert.match(measured.dataPercent ?? '', /^\d+\.\d+$/);
    await assert.rejects(createEmpty(backend, { uid: 't-2', name: 'pvc-t2', bytes: 80 * MiB }, signal), { reason: 'PoolFull' });
    assert.ok(await thin().open('t-1', signal));
    assert.deepEqual((await backendOf({ backend: 'lvm', volumeGroup: 'aoetest2' }).measure(signal)).volumes, []);
  });

  test('a thin pool that was promised in full may be written full, and takes no new volume; one that can fill then is not ready', async () => {
    await createEmpty(thin(), { uid: 't-3', name: 'pvc-t3', bytes: 72 * MiB }, signal);
    await fill(thin().path('t-1'), 48 * MiB, 1);
    await fill(thin().path('t-3'), 72 * MiB, 1);
    await fill(thin().path('t-0'), 4 * MiB, 1);
    const { ready, canFill, free, dataPercent } = await thin().measure(signal);
    assert.deepEqual({ ready, canFill, free }, { ready: true, canFill: false, free: 4 * MiB });
    assert.ok(Number(dataPercent) > 95, dataPercent);
    await assert.rejects(createEmpty(thin(), { uid: 't-4', name: 'pvc-t4', bytes: 8 * MiB }, signal), { reason: 'PoolFull' });
    assert.match((await thin({ overprovision: '200%' }).measure(signal)).message ?? '', /full: extend it/);
    for (const uid of ['t-0', 't-1', 't-3']) await thin().remove(uid, signal);
    const without = await backendOf({ backend: 'lvm-thin', volumeGroup: 'aoetest2', thinPool: 'nosuch' }).measure(signal);
    assert.match(without.message ?? '', /lvcreate --type thin-pool/);
  });

  test('a volume group inside a volume of ours is not looked at', async () => {
    const backend = thick();
    await createEmpty(backend, { uid: 'u-nest', name: 'pvc-nest', bytes: 16 * MiB }, signal);
    // Only our own: an AoE disk whose target is gone would be waited for until aoe_deadsecs.
    const nestable =
      'devices { scan_lvs=1 use_devicesfile=0 global_filter=["a|^/dev/aoetest/|","a|^/dev/mapper/aoetest-|","r|.*|"] types=["ubd",256] obtain_device_list_from_udev=0 } activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 }';
    await call('pvcreate', ['--config', nestable, '--yes', backend.path('u-nest')]);
    await call('vgcreate', ['--config', nestable, '--yes', 'guestvg', backend.path('u-nest')]);
    const nested = await backendOf({ backend: 'lvm', volumeGroup: 'guestvg' }).measure(signal);
    assert.equal(nested.ready, false);
    await backend.remove('u-nest', signal);
  });
}
