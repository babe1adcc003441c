import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MiB } from '../../../api/quantity.ts';
import { FakeLvm } from '../../testing/fake-lvm.ts';
import { Lvm } from './cli.ts';
import { lvmConfig } from './config.ts';
import { LvmBackend } from './linear.ts';
import { LvmThinBackend } from './thin.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 10 * MiB };

function thick(fake: FakeLvm, { pool = 'p1', wiped = [] as string[], crash = false } = {}): LvmBackend {
  const wipe = async (path: string): Promise<'zeroed'> => {
    if (crash) throw new Error('crash');
    wiped.push(path);
    return 'zeroed';
  };
  return new LvmBackend({ lvm: new Lvm(fake.run, 'x'), pool, group: fake.group, hasDevice: fake.hasDevice, wipe });
}

function thin(fake: FakeLvm): LvmThinBackend {
  fake.volumes.set('tp', { name: 'tp', bytes: 64 * MiB, tags: [], active: true, layout: 'thin,pool' });
  return new LvmThinBackend({ lvm: new Lvm(fake.run, 'x'), pool: 'p1', group: fake.group, hasDevice: fake.hasDevice, thinPool: 'tp' });
}

test('a volume is made with two commands once the group is known', async () => {
  const fake = new FakeLvm();
  const backend = thick(fake);
  await backend.measure(signal);
  fake.calls.length = 0;
  const made = await backend.create(request, signal);
  assert.deepEqual(made, { uid: 'u-1', volume: 'pvc-1', name: 'vg0/aoe-u-1', bytes: 12 * MiB });
  assert.deepEqual(fake.calls, ['lvcreate', 'untag']);
  assert.deepEqual(fake.volumes.get('aoe-u-1')?.tags, ['aoe.dev', 'aoe.dev/volume=pvc-1', 'aoe.dev/pool=p1']);
  fake.calls.length = 0;
  await backend.create(request, signal);
  await backend.open('u-1', signal);
  assert.deepEqual(fake.calls, []);
});

for (const [when, command] of [
  ['before', 'lvcreate'],
  ['after', 'lvcreate'],
  ['before', 'untag'],
  ['after', 'untag'],
] as const) {
  test(`a crash ${when} ${command} is mended by the next process`, async () => {
    const fake = new FakeLvm();
    fake.crash = { when, command };
    await assert.rejects(thick(fake).create(request, signal)).catch((error: unknown) => {
      // A lost answer to lvcreate is not even an error: the volume is there.
      if (command !== 'lvcreate' || when !== 'after') throw error;
    });
    fake.crash = undefined;
    const wiped: string[] = [];
    await thick(fake, { wiped }).create(request, signal);
    assert.ok(!fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new'));
    assert.equal(fake.volumes.size, 1);
    // Wiped again unless the mark was off: then it may hold data.
    const clean = command === 'untag' ? when === 'after' : command === 'lvcreate' && when === 'after';
    assert.equal(wiped.length, clean ? 0 : 1);
  });
}

test('a volume that was not wiped is not handed out', async () => {
  const fake = new FakeLvm();
  await assert.rejects(thick(fake, { crash: true }).create(request, signal));
  assert.ok(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new'));
  await assert.rejects(thick(fake, { crash: true }).create(request, signal));
  assert.ok(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new'));
});

test('a volume that was served before is never wiped, whatever its restored tags say', async () => {
  const fake = new FakeLvm();
  await thick(fake).create(request, signal);
  fake.volumes.get('aoe-u-1')?.tags.push('aoe.dev/new');
  const wiped: string[] = [];
  const backend = thick(fake, { wiped });
  assert.ok(await backend.open('u-1', signal));
  assert.ok(!fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new'));
  // Nor by what comes after.
  await backend.create(request, signal);
  assert.deepEqual(wiped, []);
});

test('many at once are marked clean together', async () => {
  const fake = new FakeLvm();
  const backend = thick(fake);
  await Promise.all(Array.from({ length: 8 }, (_, index) => backend.create({ ...request, uid: `u-${index}`, bytes: MiB }, signal)));
  assert.equal(fake.calls.filter((call) => call === 'lvcreate').length, 8);
  assert.ok(fake.calls.filter((call) => call === 'untag').length < 8);
  for (const { tags } of fake.volumes.values()) assert.ok(!tags.includes('aoe.dev/new'));
});

test('a missing group is a pool that is not ready, with the command that makes it', async () => {
  const fake = new FakeLvm();
  fake.present = false;
  const { ready, message } = await thick(fake).measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /vgcreate vg0/);
  await assert.rejects(thick(fake).open('u-1', signal), { reason: 'PoolMissing' });
});

test('a full group says so', async () => {
  await assert.rejects(thick(new FakeLvm()).create({ ...request, bytes: 1e12 }, signal), { reason: 'PoolFull' });
});

test('what is not marked as ours is never taken, shown or removed', async () => {
  const fake = new FakeLvm();
  fake.volumes.set('aoe-u-1', { name: 'aoe-u-1', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  fake.volumes.set('root', { name: 'root', bytes: 4 * MiB, tags: ['aoe.dev'], active: true, layout: 'linear' });
  const backend = thick(fake);
  assert.deepEqual(await backend.list(signal), []);
  await assert.rejects(backend.create(request, signal), /already exists/);
  await backend.remove('u-1', signal);
  assert.equal(fake.volumes.size, 2);
});

test('a retained volume is foreign from then on', async () => {
  const fake = new FakeLvm();
  const backend = thick(fake);
  await backend.create(request, signal);
  const before = await backend.measure(signal);
  await backend.retain('u-1', signal);
  const after = await backend.measure(signal);
  assert.deepEqual(after.volumes, []);
  assert.equal(after.size, before.size - 12 * MiB);
  assert.equal(fake.volumes.size, 1);
});

test('an inactive volume is activated', async () => {
  const fake = new FakeLvm();
  await thick(fake).create(request, signal);
  for (const volume of fake.volumes.values()) volume.active = false;
  assert.ok(await thick(fake).open('u-1', signal));
  assert.equal(fake.volumes.get('aoe-u-1')?.active, true);
});

test('a thin volume takes one command, and is promised in full', async () => {
  const fake = new FakeLvm();
  const backend = thin(fake);
  await backend.measure(signal);
  fake.calls.length = 0;
  await backend.create({ ...request, bytes: 40 * MiB }, signal);
  assert.deepEqual(fake.calls, ['lvcreate']);
  const { size, free } = await backend.measure(signal);
  assert.deepEqual({ size, free }, { size: 64 * MiB, free: 24 * MiB });
  await assert.rejects(backend.create({ ...request, uid: 'u-2', bytes: 28 * MiB }, signal), { reason: 'PoolFull' });
});

test('a thin pool that is nearly full takes no new volume and says what to do', async () => {
  const fake = new FakeLvm();
  const backend = thin(fake);
  fake.poolData = '96.10';
  const { ready, message } = await backend.measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /96\.10% full.*lvextend/);
  await assert.rejects(backend.create(request, signal), { reason: 'PoolNotReady' });
});

test('LVM is told not to look at disks over AoE, nor at our own volumes', () => {
  const config = lvmConfig({ udev: false });
  for (const rule of ['"r|^/dev/etherd/|"', '"r|/aoe-|"', '"r|aoe--|"', 'scan_lvs=0', 'udev_sync=0'])
    assert.ok(config.includes(rule), rule);
  assert.ok(!lvmConfig({ udev: true }).includes('udev_sync'));
});
