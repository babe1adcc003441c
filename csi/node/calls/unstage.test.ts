import { Code, RpcError } from '../../../rpc/status.ts';
import { DriverBusyError } from '../disk/kernel-driver.ts';
import { context, fails, setUp } from '../testing/calls.ts';

test('unstage unmounts, flushes and unlocks; repeating it, or unstaging what never was staged, is success', async () => {
  const { node, stage, unstage } = setUp();
  await stage();
  await unstage();
  expect(node.mounter.mounts).toStrictEqual([]);
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
  expect(node.target.holder).toBeUndefined();
  await unstage();
  node.volumes.items.clear();
  await unstage();
});

test('unstage of a volume that is still published is an error, and leaves the staging mount', async () => {
  const { node, stage, publish, unstage } = setUp();
  await stage();
  await publish();
  await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /still mounted.*pods\/p1/));
  expect(node.mounter.mounts.filter(({ type }) => type === 'ext4')).toHaveLength(2);
});

test('a busy unmount is an error: the disk is not flushed and the lock is kept', async () => {
  const { node, stage, unstage, stagingTargetPath } = setUp();
  await stage();
  node.mounter.stuck.add(stagingTargetPath);
  await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /busy/));
  expect(node.driver.flushed).toStrictEqual([]);
  expect(node.target.holder?.node).toBe('worker-1');
});

test('a disk used from another namespace is not flushed', async () => {
  const { disk, node, stage, unstage } = setUp();
  await stage();
  Object.assign(disk(), { busy: true });
  await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /still in use/));
  expect(node.target.holder?.node).toBe('worker-1');
});

test('a storage node that is down does not hold up unstage, except for an external target', async () => {
  for (const external of ['false', 'true']) {
    const { node, stage, unstage } = setUp({ external });
    await stage();
    node.segment.targets.clear();
    if (external === 'false') await unstage();
    else await expect(unstage()).rejects.toSatisfy(fails(Code.UNAVAILABLE, /does not answer, so its lock stays/));
    expect(node.mounter.mounts).toStrictEqual([]);
  }
});

test('unstage of a volume on an external target is called again until the API server takes that the node is not the holder', async () => {
  const { node, stage, unstage } = setUp({ external: 'true' });
  await stage();
  const holder = () => node.volumes.items.get('v1')?.status?.holder?.node;
  expect(holder()).toBe('worker-1');
  const record = node.volumes.record.bind(node.volumes);
  node.volumes.record = () => Promise.reject(new RpcError(Code.UNAVAILABLE, 'status cannot be written'));
  await expect(unstage()).rejects.toSatisfy(fails(Code.UNAVAILABLE, /status cannot be written/));
  node.volumes.record = record;
  await unstage();
  expect(holder()).toBeUndefined();
  expect(node.target.holder).toBeUndefined();
});

test('unstage does not touch a disk when another staged volume has its address by now', async () => {
  const { node, stage, stagedOther, unstage, service, stagingTargetPath } = setUp();
  await stagedOther('/old');
  await stage();
  await service.nodeUnstageVolume({ volumeId: 'v0', stagingTargetPath: '/old' }, context);
  expect(node.driver.flushed).toStrictEqual([]);
  expect(node.mounter.mounts[0]?.target).toBe(stagingTargetPath);
  expect(await node.deps.staged.get('v0')).toBeUndefined();
  await unstage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

for (const [what, change] of [
  ['a program has open', { openedBy: ['process 77 (qemu)'] }],
  ['a program has open, and that is down', { openedBy: ['process 77 (qemu)'], state: 'closewait' }],
] as const) {
  test(`a disk that ${what} is not flushed, and the error names the program`, async () => {
    const { disk, node, stage, unstage } = setUp();
    await stage();
    Object.assign(disk(), change);
    await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /e7\.3 is still in use on this node, by process 77 \(qemu\)/));
    expect(node.driver.flushed).toStrictEqual([]);
    expect(node.target.holder?.node).toBe('worker-1');
    Object.assign(disk(), { openedBy: [], state: 'down' });
    await unstage();
    expect(node.driver.flushed).toStrictEqual(['e7.3']);
  });
}

test('unstage ends while the driver waits for other disks: nobody has the disk open, and it is removed later', async () => {
  const { node, stage, unstage } = setUp();
  await stage();
  node.driver.flush = () => Promise.reject(new DriverBusyError('e7.3', ['e7.4']));
  await unstage();
  expect(node.target.holder).toBeUndefined();
  expect(node.removed).toStrictEqual(['e7.3']);
  // The kernel still has the disk, unused: it is used again.
  await stage();
  expect(node.mounter.mounts).toHaveLength(1);
});

test('a frozen file system is thawed before it is staged again or unmounted; one that cannot be thawed stays mounted, unless its disk is down', async () => {
  const { disk, node, stage, unstage } = setUp();
  const mounted: number[] = [];
  node.endFreeze = async () => void mounted.push(node.mounter.mounts.length);
  await stage();
  await stage();
  await unstage();
  expect(mounted).toStrictEqual([0, 1, 1]);

  await stage();
  node.endFreeze = async () => {
    throw new RpcError(Code.UNAVAILABLE, 'the file system of volume v1 was frozen for a snapshot and is not thawed yet');
  };
  await expect(unstage()).rejects.toSatisfy(fails(Code.UNAVAILABLE, /not thawed yet/));
  expect(node.mounter.mounts).toHaveLength(1);
  Object.assign(disk(), { state: 'down' });
  await unstage();
  expect(node.mounter.mounts).toHaveLength(0);
});
