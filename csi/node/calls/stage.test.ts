import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, RpcError } from '../../../rpc/status.ts';
import { block, fails, guardAt, Mode, mountOf, setUp } from '../testing/calls.ts';

test('stage locks, formats an empty disk once and mounts it; repeating it changes nothing', async () => {
  const { node, stage, stagingTargetPath } = setUp();
  await stage();
  await stage();
  expect(node.filesystems.calls).toStrictEqual(['format ext4']);
  expect(node.mounter.calls).toStrictEqual([`mount  /dev/etherd/e7.3 ${stagingTargetPath}`]);
  expect(node.target.holder?.node).toBe('worker-1');
  expect(node.volumes.items.get('v1')?.status?.filesystem).toStrictEqual({ type: 'ext4', state: 'Formatted' });
});

test('data survives: a second stage checks and mounts, without a format', async () => {
  const { node, stage, unstage } = setUp();
  await stage();
  await unstage();
  await stage();
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

test("another node's lock refuses the stage and names holder and time", async () => {
  const { node, stage } = setUp();
  node.target.holder = { node: 'worker-2', nodeUID: 'u2', volumeUID: 'uid-1', since: '2026-02-03T04:05:06Z' };
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /held by node worker-2 since 2026-02-03T04:05:06Z/));
  expect(node.target.holder.node).toBe('worker-2');
  expect(node.mounter.calls).toStrictEqual([]);
});

test("a stranger's config string refuses the stage and is shown", async () => {
  const { node, stage } = setUp();
  node.target.otherString = 'net.corvus.apple X';
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /net\.corvus\.apple X/));
});

test('a wrong serial on the wire is refused before the disk is locked', async () => {
  const { node, stage } = setUp({ serial: 'OTHER' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /wrong disk.*"S1".*"OTHER"/));
  expect(node.wire.calls).toStrictEqual([]);
  expect(node.filesystems.calls).toStrictEqual([]);
});

test('a disk that the kernel remembers from an earlier target is flushed and found again', async () => {
  const { disk, node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(disk(), { serial: 'OLD' });
  await stage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a wrong disk in the kernel that is in use is not flushed; the stage fails before it takes the lock', async () => {
  const { disk, node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(disk(), { serial: 'OLD', busy: true });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /in use on this node already/));
  expect(node.driver.flushed).toStrictEqual([]);
  expect(node.wire.calls).toStrictEqual([]);
});

test('nobody at the address is UNAVAILABLE with advice', async () => {
  const { node, stage } = setUp();
  node.segment.targets.clear();
  await expect(stage()).rejects.toSatisfy(fails(Code.UNAVAILABLE, /no target answers.*storage node/));
});

test('two disks at one address are a conflict', async () => {
  const { node, stage } = setUp();
  node.segment.targets.set('e7.3', [node.target, { ...node.target, serial: 'S2', mac: '02:00:00:00:00:02' }]);
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /address conflict.*S1.*S2/));
});

test('an interrupted format is begun again', async () => {
  const { node, stage } = setUp();
  node.filesystems.failFormat = true;
  await expect(stage()).rejects.toSatisfy(fails(Code.INTERNAL, /mkfs failed/));
  expect(node.volumes.items.get('v1')?.status?.filesystem?.state).toBe('Formatting');
  expect(node.target.holder?.node).toBe('worker-1');
  await stage();
  expect(node.filesystems.calls).toStrictEqual(['format ext4', 'format ext4']);
});

test('staging with another file system is ALREADY_EXISTS when mounted, FAILED_PRECONDITION when not', async () => {
  const { stage, unstage } = setUp();
  await stage();
  await expect(stage(mountOf('xfs'))).rejects.toSatisfy(fails(Code.ALREADY_EXISTS, /staged already, as ext4/));
  await unstage();
  await expect(stage(mountOf('xfs'))).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /holds ext4, but xfs/));
});

test('a stale mount of a disk that has gone is removed lazily before the mount', async () => {
  const { node, stage, stagingTargetPath } = setUp();
  const stale = {
    id: 'x',
    device: '152:999',
    root: '/',
    target: stagingTargetPath,
    options: ['rw'],
    type: 'ext4',
    source: '/dev/etherd/e7.3',
    superOptions: ['rw'],
  };
  node.mounter.mounts.push(stale);
  await stage();
  expect(node.mounter.calls[0]).toBe(`umount -l ${stagingTargetPath}`);
  expect(node.mounter.mounts).toHaveLength(1);
});

test('an AoEVolume that was deleted and created again since the attachment is refused', async () => {
  const { stage } = setUp({ volumeUID: 'uid-0' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /deleted and created again/));
});

test('an unknown volume is NOT_FOUND', async () => {
  const { node, stage } = setUp();
  node.volumes.items.clear();
  await expect(stage()).rejects.toSatisfy(fails(Code.NOT_FOUND, /no AoEVolume v1/));
});

test('access beyond what the volume has is FAILED_PRECONDITION', async () => {
  await expect(setUp().stage(mountOf('ext4', Mode.MULTI_NODE_MULTI_WRITER))).rejects.toSatisfy(
    fails(Code.FAILED_PRECONDITION, /several nodes/),
  );
  await expect(setUp({ access: 'ReadOnlyMany' }).stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /for reading/));
  await expect(setUp({ access: 'Shared' }).stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /raw block/));
});

test('ReadOnlyMany mounts without lock, journal replay or check, and never formats', async () => {
  const { node, stage, stagingTargetPath } = setUp({ access: 'ReadOnlyMany' });
  await expect(stage(mountOf('ext4', Mode.MULTI_NODE_READER_ONLY))).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /empty/));
  node.target.content = { kind: 'found', type: 'ext4' };
  await stage(mountOf('ext4', Mode.MULTI_NODE_READER_ONLY));
  expect(node.mounter.calls).toStrictEqual([`mount ro,noload /dev/etherd/e7.3 ${stagingTargetPath}`]);
  expect(node.filesystems.calls).toStrictEqual([]);
  expect(node.wire.calls).toStrictEqual([]);
});

test('the serial and holder of an external disk are recorded, and the serial is compared later', async () => {
  const { node, stage, unstage } = setUp({ external: 'true', serial: '' });
  await stage();
  expect(node.volumes.items.get('v1')?.status?.serial).toBe('S1');
  expect(node.volumes.items.get('v1')?.status?.holder?.node).toBe('worker-1');
  await unstage();
  expect(node.volumes.items.get('v1')?.status?.holder).toBeUndefined();
  node.target.serial = 'S2';
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /wrong disk/));
});

test('a stage that fails while its record is written releases the lock after that', async () => {
  const { node, stage } = setUp({ external: 'true', serial: '' });
  const order: string[] = [];
  node.volumes.record = (_volume, status) =>
    'serial' in status ? Promise.reject(new RpcError(Code.ABORTED, 'the volume was deleted')) : Promise.resolve();
  const { staged, wire } = node.deps;
  const put = staged.put.bind(staged);
  const written = Promise.withResolvers<void>();
  staged.put = async (volumeId, record) => {
    if (record.locks?.length === 1 && node.wire.calls.includes('acquire')) {
      // The stage has failed by then, unless it waits for this.
      setImmediate(written.resolve);
      await written.promise;
      order.push('record');
    }
    await put(volumeId, record);
  };
  const release = wire.release.bind(wire);
  wire.release = (...args) => {
    order.push('release');
    return release(...args);
  };
  await expect(stage()).rejects.toSatisfy(fails(Code.ABORTED, /was deleted/));
  await written.promise;
  expect(order).toStrictEqual(['record', 'release']);
});

test('raw block: no format, no mount at the staging path; unpublish removes the file', async () => {
  const { node, stage, unpublish, unstage, targetPath, stagingTargetPath } = setUp();
  await stage(block);
  expect(node.mounter.calls).toStrictEqual([]);
  mkdirSync(join(targetPath, '..'), { recursive: true });
  writeFileSync(targetPath, '');
  await node.mounter.mount('/dev/etherd/e7.3', targetPath, { options: ['bind'] });
  await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /still mounted/));
  await unpublish();
  expect(existsSync(targetPath)).toBe(false);
  await unstage();
  expect(existsSync(stagingTargetPath)).toBe(false);
});

test('a mount that the kernel made read-only after errors is mounted again', async () => {
  const { node, stage, stagingTargetPath } = setUp();
  await stage();
  node.mounter.mounts = node.mounter.mounts.map((each) => ({ ...each, superOptions: ['ro'] }));
  await stage();
  expect(node.mounter.calls.slice(1)).toStrictEqual([`umount ${stagingTargetPath}`, `mount  /dev/etherd/e7.3 ${stagingTargetPath}`]);
});

test('a mount from before another host had the volume is not used again: not by a stage', async () => {
  const it = setUp();
  await it.stage();
  await it.publish();
  it.hadByAnother();
  await it.stage();
  expect(it.node.mounter.calls).toStrictEqual([
    `umount -l ${it.targetPath}`,
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
  ]);
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
  expect(it.node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

for (const [who, what] of [
  ['a mount', { busy: true }],
  ['a program that has merely opened it', { openedBy: ['process 77 (qemu)'] }],
  ['a program, and the disk is down', { state: 'closewait' }],
] as const) {
  test(`while ${who} from before still has the disk open, it is not staged again`, async () => {
    const it = setUp();
    await it.stage(block);
    it.hadByAnother();
    Object.assign(it.disk(), what);
    for (const call of [it.stage, it.publish]) await expect(call(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /still in use/));
    expect(it.node.driver.flushed).toStrictEqual([]);
    Object.assign(it.disk(), { busy: false, openedBy: [], state: 'up' });
    await it.stage(block);
    expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
  });
}

test('a refused stage names the program that has the disk open', async () => {
  const it = setUp();
  await it.stage(block);
  it.hadByAnother();
  it.disk().openedBy.push('process 77 (qemu)');
  await expect(it.stage(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /volume v1 .*in use.* by process 77 \(qemu\)/));
});

for (const [user, access] of [
  ['a program', 'Exclusive'],
  ['a mount', 'Exclusive'],
  ['a program', 'ReadOnlyMany'],
] as const) {
  test(`while ${user} still uses the volume that had the address before, the ${access} volume that got it is not locked`, async () => {
    const it = setUp({ access });
    const { driver, mounter, wire, deps } = it.node;
    await it.stagedOther('/staging-0', access);
    await driver.attach('e7.3');
    if (user === 'a mount') await mounter.mount('/dev/etherd/e7.3', '/pods/p0/disk', { options: ['bind'] });
    else it.disk().openedBy.push('process 77 (qemu)');
    const usage = access === 'Exclusive' ? block : mountOf('ext4', Mode.MULTI_NODE_READER_ONLY);
    const users = user === 'a mount' ? /in use on this node already, by the mount at \/pods\/p0\/disk/ : /by process 77 \(qemu\)/;
    for (let attempt = 0; attempt < 2; attempt++) await expect(it.stage(usage)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, users));
    // The target accepts the writes of the host that has the lock, whoever on the host writes.
    expect(wire.calls).toStrictEqual([]);
    expect(await deps.staged.get('v1')).toBeUndefined();
    expect(driver.flushed).toStrictEqual([]);
  });
}

test('a disk that the kernel had before, and that nobody uses, is removed before the volume is locked', async () => {
  const it = setUp();
  await it.node.driver.attach('e7.3');
  const acquire = it.node.wire.acquire.bind(it.node.wire);
  it.node.wire.acquire = async (...args) => {
    expect(it.node.driver.known.has('e7.3')).toBe(false);
    return acquire(...args);
  };
  await it.stage(block);
  expect(it.node.target.holder?.node).toBe('worker-1');
});

test('a disk that the kernel has made since this node was admitted is used as it is', async () => {
  const { disk, node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(disk(), { madeAt: Date.now() });
  await stage();
  expect(node.driver.flushed).toStrictEqual([]);
  // A program may have read it while another node still wrote.
  expect(node.driver.cacheDropped).toStrictEqual(['e7.3']);
  expect(node.mounter.calls).toHaveLength(1);
});

test('a new disk at an address that another volume has here is not used as it is', async () => {
  const { disk, node, stage, stagedOther } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(disk(), { madeAt: Date.now() });
  await stagedOther('/staging/v0');
  await stage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a new disk of another volume that a program has open is not taken for this one', async () => {
  const { disk, node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(disk(), { madeAt: Date.now(), serial: 'OLD', openedBy: ['process 77 (qemu)'] });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /in use on this node already, by process 77/));
  expect(node.wire.calls).toStrictEqual([]);
});

test('a disk that this node lost is removed before it is used again, also when the kernel has just made it', async () => {
  const { disk, hadByAnother, node, stage } = setUp();
  await stage();
  Object.assign(disk(), { madeAt: Date.now() });
  hadByAnother();
  await stage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a volume in use whose record is lost is staged again when its lock is still there', async () => {
  const it = setUp();
  await it.stage(block);
  await it.node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  await it.node.deps.staged.delete('v1');
  await it.stage(block);
  expect(it.node.driver.flushed).toStrictEqual([]);
});

test('a disk that the kernel had before, and that a program has open, is not taken for a volume that was not staged here', async () => {
  const it = setUp();
  await it.node.driver.attach('e7.3');
  it.disk().openedBy.push('process 77 (qemu)');
  await expect(it.stage(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /in use on this node already, by process 77/));
  expect(it.node.driver.flushed).toStrictEqual([]);
  expect(it.node.target.holder).toBeUndefined();
});

test('a stage that was killed at any line after the lock was taken does not take down what runs', async () => {
  const it = setUp();
  await it.stage();
  // The lock is taken again, and then the record of it fails.
  const put = it.node.deps.staged.put.bind(it.node.deps.staged);
  let puts = 0;
  it.node.deps.staged.put = async (...args) => {
    if (++puts > 1) throw new Error('killed');
    await put(...args);
  };
  await expect(it.stage()).rejects.toThrow(/killed/);
  it.node.deps.staged.put = put;
  it.node.mounter.calls.length = 0;
  await it.stage();
  await it.publish();
  expect(it.node.mounter.calls).toStrictEqual([guardAt(it.targetPath), `mount bind ${it.stagingTargetPath} ${it.targetPath}`]);
  expect(it.node.driver.flushed).toStrictEqual([]);
});

test('a failed repetition of a stage leaves the lock to the pod that runs', async () => {
  const it = setUp();
  await it.stage(block);
  await it.node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  it.node.driver.attach = async () => undefined;
  await expect(it.stage(block)).rejects.toSatisfy(fails(Code.UNAVAILABLE, /did not find the disk/));
  expect(it.node.target.holder?.node).toBe('worker-1');
});

test('what an earlier version staged goes on when its lock is still there', async () => {
  const it = setUp();
  await it.stage();
  const { locks: _, ...record } = (await it.node.deps.staged.get('v1')) ?? assert.fail();
  await it.node.deps.staged.put('v1', record);
  it.node.mounter.calls.length = 0;
  await it.publish();
  await it.stage();
  expect(it.node.mounter.calls).toStrictEqual([guardAt(it.targetPath), `mount bind ${it.stagingTargetPath} ${it.targetPath}`]);
});

test('a disk that another node got while this one was slow is not formatted, and its state is not overwritten', async () => {
  const it = setUp();
  const get = it.node.volumes.get.bind(it.node.volumes);
  it.node.volumes.get = async (name) => {
    const volume = await get(name);
    // After the second read, which happens under the lock: this node is cut off, and the next node has formatted the disk and uses it.
    const now = it.node.volumes.items.get('v1');
    if (it.node.wire.calls.includes('acquire') && now) {
      now.spec.initiators = { nodes: ['worker-2'] };
      now.status = { filesystem: { type: 'ext4', state: 'Formatted' } };
    }
    return volume;
  };
  await expect(it.stage()).rejects.toSatisfy(fails(Code.ABORTED, /another/));
  expect(it.node.filesystems.calls).toStrictEqual([]);
  expect(it.node.volumes.items.get('v1')?.status?.filesystem?.state).toBe('Formatted');
});
