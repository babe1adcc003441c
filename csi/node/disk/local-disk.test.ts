import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { MountPoint } from '../contracts.ts';
import { FakeNode } from '../testing/fakes.ts';
import { DriverBusyError } from './kernel-driver.ts';
import { DiskInUseError, isDiskGoneOrDown, LocalDisk } from './local-disk.ts';

const signal = new AbortController().signal;

/** Disk e7.3, which the kernel has as 152:16. */
async function setUp() {
  const node = new FakeNode();
  await node.driver.attach('e7.3');
  const known = node.driver.known.get('e7.3') ?? assert.fail();
  return { node, driver: node.driver, mounter: node.mounter, known, disk: node.deps.localDisk('e7.3') };
}

let id = 0;
const mountOf = (fields: Partial<MountPoint>): MountPoint => ({
  id: String(++id),
  device: '0:5',
  root: '/',
  target: '/a',
  options: [],
  type: 'ext4',
  source: 'none',
  superOptions: [],
  ...fields,
});

for (const [what, fields, expected] of [
  ['a mount of its file system', { device: '152:16', source: '/dev/etherd/e7.3' }, { kind: 'filesystem', isStale: false }],
  ['its device node', { root: '/etherd/e7.3', type: 'devtmpfs' }, { kind: 'node', isStale: false }],
  [
    'a mount of a disk that had the address before',
    { device: '152:99', source: '/dev/etherd/e7.3' },
    { kind: 'filesystem', isStale: true },
  ],
  ['the node of a disk that was removed', { root: '/etherd/e7.3//deleted' }, { kind: 'node', isStale: true }],
  ['a mount of a disk with a longer address', { device: '152:32', source: '/dev/etherd/e7.31' }, undefined],
  ['another node', { root: '/etherd/e7.31' }, undefined],
  ['another file system', { device: '8:1', source: '/dev/sda1' }, undefined],
] as const) {
  test(`mounts() of a disk: ${what}`, async () => {
    const { mounter, disk } = await setUp();
    mounter.mounts.push(mountOf(fields));
    expect((await disk.mounts()).map(({ kind, isStale }) => ({ kind, isStale }))).toStrictEqual(expected ? [expected] : []);
  });
}

test('mounts() has what is mounted of a device that is stacked on the disk', async () => {
  const { mounter, disk, driver } = await setUp();
  driver.stack = async () => ['152:16', '253:0'];
  mounter.mounts.push(mountOf({ device: '253:0', source: '/dev/mapper/crypt' }));
  expect((await disk.mounts())[0]?.kind).toBe('filesystem');
});

/** Disk e7.3 with an open mapping. */
async function setUpMapped() {
  const all = await setUp();
  const mapping = { name: 'aoe-e7.3-u', node: 'dm-4', path: '/dev/mapper/aoe-e7.3-u', device: '254:4', bytes: 48 << 20 };
  all.driver.mapped.set('e7.3', mapping);
  return { ...all, mapping };
}

for (const [what, fields, expected] of [
  ['its file system', { device: '254:4', source: '/dev/mapper/aoe-e7.3-u' }, { kind: 'filesystem', isStale: false }],
  ['its node', { root: '/mapper/aoe-e7.3-u', type: 'devtmpfs' }, { kind: 'node', isStale: false }],
  ["the kernel's own node, to which udev links it", { root: '/dm-4', type: 'devtmpfs' }, { kind: 'node', isStale: false }],
  ['the node of an earlier mapping', { root: '/mapper/aoe-e7.3-old//deleted' }, { kind: 'node', isStale: true }],
  ['the file system of an earlier mapping', { device: '254:9', source: '/dev/mapper/aoe-e7.3-old' }, { kind: 'filesystem', isStale: true }],
  ['a mapping of another disk', { device: '254:5', source: '/dev/mapper/aoe-e7.31-u' }, undefined],
  ['a mapping of somebody else', { root: '/mapper/vg-root' }, undefined],
] as const) {
  test(`mounts() of a disk that is encrypted: ${what}`, async () => {
    const { mounter, disk } = await setUpMapped();
    mounter.mounts.push(mountOf(fields));
    expect((await disk.mounts()).map(({ kind, isStale }) => ({ kind, isStale }))).toStrictEqual(expected ? [expected] : []);
  });
}

test('remove() closes the mapping first, and leaves both while somebody has the mapping open', async () => {
  const { disk, driver, node } = await setUpMapped();
  node.encryption.busy = true;
  await expect(disk.remove(signal)).rejects.toThrow(/in use on this node, by \/dev\/dm-4/);
  expect(driver.flushed).toStrictEqual([]);
  node.encryption.busy = false;
  await disk.remove(signal);
  expect({ mapped: driver.mapped.size, flushed: driver.flushed }).toStrictEqual({ mapped: 0, flushed: ['e7.3'] });
});

test('unmountAll() unmounts the node of a mapping when nobody but the mapping has the disk open, and leaves it while somebody has', async () => {
  const { disk, mounter, node } = await setUpMapped();
  mounter.mounts.push(mountOf({ root: '/mapper/aoe-e7.3-u', type: 'devtmpfs', target: '/pods/dev' }));
  node.encryption.busy = true;
  await expect(disk.unmountAll({ at: '/staging' }, signal)).rejects.toThrow(
    /in use on this node, by a mount of \/dev\/mapper\/aoe-e7\.3-u/,
  );
  expect(mounter.mounts).toHaveLength(1);
  node.encryption.busy = false;
  expect(await disk.unmountAll({ at: '/staging' }, signal)).toStrictEqual(['/pods/dev']);
});

test('a mount of a mapping is dead when the disk below it is down or gone', async () => {
  const { driver, known, mapping } = await setUpMapped();
  const mount = mountOf({ device: mapping.device, source: mapping.path });
  expect(await isDiskGoneOrDown(driver, mount)).toBe(false);
  known.state = 'down';
  expect(await isDiskGoneOrDown(driver, mount)).toBe(true);
  Object.assign(known, { state: 'up' });
  driver.mapped.clear();
  expect(await isDiskGoneOrDown(driver, mount)).toBe(true);
});

const surveyed = { serial: 'S1', bytes: 64 << 20 };

test('a disk that the kernel has just made, and that nobody has mounted, is new', async () => {
  const { disk, known } = await setUp();
  known.madeAt = Date.now() - 10_000;
  expect(await disk.isNew(surveyed, signal)).toBe(true);
});

for (const [what, change] of [
  ['the kernel does not tell when it made it', { madeAt: undefined }],
  ['the kernel made it long ago', { madeAt: Date.now() - 3_600_000 }],
  ['the clock was set back since', { madeAt: Date.now() + 3_600_000 }],
  ['it has another serial number', { serial: 'OLD' }],
  ['it has another size', { disk: { path: '/dev/etherd/e7.3', device: '152:16', bytes: 32 << 20 } }],
  ['it is down', { state: 'down' }],
  ['an exclusive user has it', { busy: true }],
] as const) {
  test(`a disk is not new when ${what}`, async () => {
    const { disk, known } = await setUp();
    Object.assign(known, { madeAt: Date.now() - 10_000, ...change });
    expect(await disk.isNew(surveyed, signal)).toBe(false);
  });
}

for (const [what, fields] of [
  ['its device node', { root: '/etherd/e7.3', type: 'devtmpfs' }],
  ['a disk that had the address before', { device: '152:99', source: '/dev/etherd/e7.3' }],
] as const) {
  test(`a disk is not new while ${what} is mounted`, async () => {
    const { disk, known, mounter } = await setUp();
    known.madeAt = Date.now() - 10_000;
    mounter.mounts.push(mountOf(fields));
    expect(await disk.isNew(surveyed, signal)).toBe(false);
  });
}

test('users() does not wait longer when each search for them takes long', async () => {
  const { node, driver } = await setUp();
  let searches = 0;
  driver.openers = async () => {
    searches++;
    await delay(300);
    return ['process 77 (qemu)'];
  };
  const disk = new LocalDisk({ driver, encryption: node.encryption, mounter: node.mounter, log: node.deps.log, settleMs: 1_000 }, 'e7.3');
  expect(await disk.users(signal)).toStrictEqual(['process 77 (qemu)']);
  expect(searches).toBeLessThan(5);
});

test('remove() removes a disk that nobody uses, and does nothing when there is none', async () => {
  const { disk, driver } = await setUp();
  await disk.remove(signal);
  await disk.remove(signal);
  expect(driver.flushed).toStrictEqual(['e7.3']);
  expect(await disk.health()).toBe('absent');
});

for (const [what, change, who] of [
  ['a program has it open', { openedBy: ['process 77 (qemu)'] }, /by process 77 \(qemu\)/],
  ['a mount has it', { busy: true }, /by a mount/],
  ['it is down, and a program has it open', { state: 'closewait', openedBy: ['process 77 (qemu)'] }, /by process 77/],
  ['it is down, and the kernel counts it as open', { state: 'closewait' }, /by a program that could not be found/],
] as const) {
  test(`remove() leaves a disk in the kernel while ${what}`, async () => {
    const { disk, driver, known } = await setUp();
    Object.assign(known, change);
    await expect(disk.remove(signal)).rejects.toSatisfy((error: Error) => {
      assert.ok(error instanceof DiskInUseError);
      expect(error.message).toMatch(who);
      return true;
    });
    expect(driver.flushed).toStrictEqual([]);
  });
}

test('remove() gives a program that opens the disk for a moment, such as udev, the time to close it', async () => {
  const { node, driver, mounter } = await setUp();
  let asked = 0;
  driver.openers = async () => (++asked < 3 ? ['process 5 (udev-worker)'] : []);
  await new LocalDisk({ driver, encryption: node.encryption, mounter, log: node.deps.log, settleMs: 1_000 }, 'e7.3').remove(signal);
  expect(asked).toBe(3);
});

test('a disk that is down is not opened to find out who uses it: the open would fail', async () => {
  const { disk, driver, known } = await setUp();
  known.state = 'down';
  driver.isClaimed = () => assert.fail('opened');
  expect(await disk.users(signal)).toStrictEqual([]);
});

test('unmountAll() detaches all mounts of the disk, the newest first, and nothing else', async () => {
  const { disk, mounter } = await setUp();
  mounter.mounts.push(
    mountOf({ target: '/staging', device: '152:99', source: '/dev/etherd/e7.3' }),
    mountOf({ target: '/other', device: '8:1' }),
    mountOf({ target: '/pod', device: '152:16' }),
  );
  expect(await disk.unmountAll({ at: '/staging' }, signal)).toStrictEqual(['/staging', '/pod']);
  expect(mounter.calls).toStrictEqual(['umount -l /pod', 'umount -l /staging']);
});

test('unmountAll() leaves the device node at the paths by which the kubelet finds its loop device, until nobody has the disk open', async () => {
  const { disk, mounter, known } = await setUp();
  mounter.mounts.push(
    mountOf({ target: '/volumeDevices/dev/pod', root: '/etherd/e7.3', type: 'devtmpfs' }),
    mountOf({ target: '/pod', device: '152:16' }),
  );
  Object.assign(known, { openedBy: ['/dev/loop0 (a loop device)'] });
  await expect(disk.unmountAll({ at: '/staging' }, signal)).rejects.toBeInstanceOf(DiskInUseError);
  expect(mounter.calls).toStrictEqual(['umount -l /pod']);
  Object.assign(known, { openedBy: [] });
  expect(await disk.unmountAll({ at: '/staging' }, signal)).toStrictEqual(['/volumeDevices/dev/pod']);
});

test('unmountAll() of one path leaves the mounts of the volume that has the address now', async () => {
  const { disk, mounter } = await setUp();
  mounter.mounts.push(mountOf({ target: '/staging', device: '152:99' }), mountOf({ target: '/pod', device: '152:16' }));
  expect(await disk.unmountAll({ at: '/staging', onlyThere: true }, signal)).toStrictEqual(['/staging']);
});

test('clearStale() removes mounts of earlier disks down to the present one', async () => {
  const { disk, mounter } = await setUp();
  mounter.mounts.push(
    mountOf({ target: '/staging', device: '152:16', source: '/dev/etherd/e7.3' }),
    mountOf({ target: '/staging', device: '152:99', source: '/dev/etherd/e7.3' }),
  );
  expect((await disk.clearStale('/staging', signal))?.device).toBe('152:16');
  expect(mounter.calls).toStrictEqual(['umount -l /staging']);
});

test('a mount is dead when its disk is gone, replaced or down', async () => {
  const { driver, known } = await setUp();
  const mount = mountOf({ device: '152:16', source: '/dev/etherd/e7.3' });
  expect(await isDiskGoneOrDown(driver, mount)).toBe(false);
  expect(await isDiskGoneOrDown(driver, { ...mount, device: '152:99' })).toBe(true);
  known.state = 'closewait';
  expect(await isDiskGoneOrDown(driver, mount)).toBe(true);
  driver.known.clear();
  expect(await isDiskGoneOrDown(driver, mount)).toBe(true);
});

test('revive() needs the right disk, of the right size, in the kernel', async () => {
  const { disk, driver, known } = await setUp();
  const surveyed = { serial: 'S1', bytes: 64 << 20 };
  const asked: unknown[] = [];
  driver.attach = async (_address, ...more: unknown[]) => {
    asked.push(...more);
    return known.disk;
  };
  await disk.revive('v', surveyed, signal);
  expect(asked).toMatchObject([{ bytes: 64 << 20 }]);
  known.serial = 'S2';
  await expect(disk.revive('v', surveyed, signal)).rejects.toThrow(/wrong disk/);
  driver.attach = async () => undefined;
  known.state = 'closewait';
  await expect(disk.revive('v', surveyed, signal)).rejects.toThrow(/kernel's disk is closewait/);
});

test('remove() leaves a disk that nobody uses while the driver is busy, and refuses one that somebody uses', async () => {
  const { disk, driver, known } = await setUp();
  driver.flush = () => Promise.reject(new DriverBusyError('e7.3', ['e7.4']));
  expect(await disk.remove(signal)).toBe(false);
  known.openedBy.push('process 77 (qemu)');
  await expect(disk.remove(signal)).rejects.toBeInstanceOf(DiskInUseError);
});
