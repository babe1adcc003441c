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
  expect(made).toStrictEqual({ uid: 'u-1', volume: 'pvc-1', name: 'vg0/aoe-u-1', bytes: 12 * MiB });
  expect(fake.calls).toStrictEqual(['lvcreate', 'untag']);
  expect(fake.volumes.get('aoe-u-1')?.tags).toStrictEqual(['aoe.dev', 'aoe.dev/volume=pvc-1', 'aoe.dev/pool=p1']);
  fake.calls.length = 0;
  await backend.create(request, signal);
  await backend.open('u-1', signal);
  expect(fake.calls).toStrictEqual([]);
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
    await expect(thick(fake).create(request, signal))
      .rejects.toThrow()
      .catch((error: unknown) => {
        // A lost answer to lvcreate is not even an error: the volume is there.
        if (command !== 'lvcreate' || when !== 'after') throw error;
      });
    fake.crash = undefined;
    const wiped: string[] = [];
    await thick(fake, { wiped }).create(request, signal);
    expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeFalsy();
    expect(fake.volumes.size).toBe(1);
    // Wiped again unless the mark was off: then it may hold data.
    const clean = command === 'untag' ? when === 'after' : command === 'lvcreate' && when === 'after';
    expect(wiped).toHaveLength(clean ? 0 : 1);
  });
}

test('a volume that was not wiped is not handed out', async () => {
  const fake = new FakeLvm();
  await expect(thick(fake, { crash: true }).create(request, signal)).rejects.toThrow();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeTruthy();
  await expect(thick(fake, { crash: true }).create(request, signal)).rejects.toThrow();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeTruthy();
});

test('a volume that was served before is never wiped, whatever its restored tags say', async () => {
  const fake = new FakeLvm();
  await thick(fake).create(request, signal);
  fake.volumes.get('aoe-u-1')?.tags.push('aoe.dev/new');
  const wiped: string[] = [];
  const backend = thick(fake, { wiped });
  expect(await backend.open('u-1', signal)).toBeTruthy();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeFalsy();
  // Nor by what comes after.
  await backend.create(request, signal);
  expect(wiped).toStrictEqual([]);
});

test('many at once are marked clean together', async () => {
  const fake = new FakeLvm();
  const backend = thick(fake);
  await Promise.all(Array.from({ length: 8 }, (_, index) => backend.create({ ...request, uid: `u-${index}`, bytes: MiB }, signal)));
  expect(fake.calls.filter((call) => call === 'lvcreate')).toHaveLength(8);
  expect(fake.calls.filter((call) => call === 'untag').length).toBeLessThan(8);
  for (const { tags } of fake.volumes.values()) expect(tags).not.toContain('aoe.dev/new');
});

test('a missing group is a pool that is not ready, with the command that makes it', async () => {
  const fake = new FakeLvm();
  fake.present = false;
  const { ready, message } = await thick(fake).measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/vgcreate vg0/);
  await expect(thick(fake).open('u-1', signal)).rejects.toMatchObject({ reason: 'PoolMissing' });
});

test('a full group says so', async () => {
  await expect(thick(new FakeLvm()).create({ ...request, bytes: 1e12 }, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
});

test('what is not marked as ours is never taken, shown or removed', async () => {
  const fake = new FakeLvm();
  fake.volumes.set('aoe-u-1', { name: 'aoe-u-1', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  fake.volumes.set('root', { name: 'root', bytes: 4 * MiB, tags: ['aoe.dev'], active: true, layout: 'linear' });
  const backend = thick(fake);
  expect(await backend.list(signal)).toStrictEqual([]);
  await expect(backend.create(request, signal)).rejects.toThrow(/already exists/);
  await backend.remove('u-1', signal);
  expect(fake.volumes.size).toBe(2);
});

test('a retained volume is foreign from then on', async () => {
  const fake = new FakeLvm();
  const backend = thick(fake);
  await backend.create(request, signal);
  const before = await backend.measure(signal);
  await backend.retain('u-1', signal);
  const after = await backend.measure(signal);
  expect(after.volumes).toStrictEqual([]);
  expect(after.size).toBe(before.size - 12 * MiB);
  expect(fake.volumes.size).toBe(1);
});

test('an inactive volume is activated', async () => {
  const fake = new FakeLvm();
  await thick(fake).create(request, signal);
  for (const volume of fake.volumes.values()) volume.active = false;
  expect(await thick(fake).open('u-1', signal)).toBeTruthy();
  expect(fake.volumes.get('aoe-u-1')?.active).toBe(true);
});

test('a thin volume takes one command, and is promised in full', async () => {
  const fake = new FakeLvm();
  const backend = thin(fake);
  await backend.measure(signal);
  fake.calls.length = 0;
  await backend.create({ ...request, bytes: 40 * MiB }, signal);
  expect(fake.calls).toStrictEqual(['lvcreate']);
  const { size, free } = await backend.measure(signal);
  expect({ size, free }).toStrictEqual({ size: 64 * MiB, free: 24 * MiB });
  await expect(backend.create({ ...request, uid: 'u-2', bytes: 28 * MiB }, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
});

test('a thin pool that is nearly full takes no new volume and says what to do', async () => {
  const fake = new FakeLvm();
  const backend = thin(fake);
  fake.poolData = '96.10';
  const { ready, message } = await backend.measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/96\.10% full.*lvextend/);
  await expect(backend.create(request, signal)).rejects.toMatchObject({ reason: 'PoolNotReady' });
});

test('LVM is told not to look at disks over AoE, nor at our own volumes', () => {
  const config = lvmConfig({ udev: false });
  for (const rule of ['"r|^/dev/etherd/|"', '"r|/aoe-|"', '"r|aoe--|"', 'scan_lvs=0', 'udev_sync=0']) expect(config, rule).toContain(rule);
  expect(lvmConfig({ udev: true })).not.toContain('udev_sync');
});
