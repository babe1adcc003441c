import { Code } from '../../../rpc/status.ts';
import { block, fails, guardAt, setUp } from '../testing/calls.ts';

/** A volume that is staged and published on a node whose kernel has given up the disk since. */
async function down() {
  const it = setUp();
  await it.stage();
  await it.publish();
  Object.assign(it.disk(), { state: 'down' });
  it.node.mounter.calls.length = 0;
  it.node.filesystems.calls.length = 0;
  return it;
}

test('a pod that comes after an outage gets a new mount of a checked file system, although the kubelet does not stage again', async () => {
  const it = await down();
  await it.unpublish();
  await it.publish();
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
  expect(it.node.filesystems.calls).toStrictEqual(['check ext4']);
  expect(it.node.mounter.calls.slice(2)).toStrictEqual([
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
    guardAt(it.targetPath),
    `mount bind ${it.stagingTargetPath} ${it.targetPath}`,
  ]);
  expect(it.node.target.holder?.node).toBe('worker-1');
});

test('while another pod has the dead file system mounted, nothing is touched, and the message says where', async () => {
  const it = await down();
  await expect(it.publish(undefined, { targetPath: `${it.targetPath}-2` })).rejects.toSatisfy(
    fails(Code.FAILED_PRECONDITION, /has lost writes.*still mounted at .*pods\/p1\/mount/),
  );
  await expect(it.stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /has lost writes/));
  expect(it.node.mounter.calls).toStrictEqual([]);
  expect(it.node.driver.flushed).toStrictEqual([]);
  expect(it.node.target.holder?.node).toBe('worker-1');
});

test('while a program keeps the disk open, the new mount waits', async () => {
  const it = await down();
  await it.unpublish();
  Object.assign(it.disk(), { openedBy: ['process 7 (postgres)'] });
  // The first attempt removes the staging mount. The file system stays in the kernel all the same, and the next attempt must see that.
  for (const attempt of [it.publish, it.stage, it.stage])
    await expect(attempt()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /process 7 \(postgres\)/));
  expect(it.node.mounter.mounts).toStrictEqual([]);
  expect(it.node.driver.flushed).toStrictEqual([]);
  Object.assign(it.disk(), { openedBy: [] });
  await it.publish();
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
});

test('while the target is away, the mount stays, and the new pod waits', async () => {
  const it = await down();
  await it.unpublish();
  it.node.segment.targets.clear();
  it.node.mounter.calls.length = 0;
  await expect(it.publish()).rejects.toSatisfy(fails(Code.UNAVAILABLE, /does not answer/));
  expect(it.node.mounter.calls).toStrictEqual([]);
});

test('a raw block disk that is down stays as it is published: it is revived when its target is back', async () => {
  const it = setUp();
  await it.stage(block);
  await it.node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  Object.assign(it.disk(), { state: 'down' });
  await it.publish(block);
  expect(it.node.driver.flushed).toStrictEqual([]);
});

test('a raw block volume that a pod uses can be staged again while its disk is down', async () => {
  const it = setUp();
  await it.stage(block);
  await it.node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  Object.assign(it.disk(), { state: 'closewait', openedBy: ['process 7 (qemu)'] });
  await it.stage(block);
  expect(it.node.driver.flushed).toStrictEqual([]);
  expect(it.node.mounter.mounts.map(({ target }) => target)).toStrictEqual([it.targetPath]);
});

test('while a pod uses the disk, which is down, as a raw block device, no file system is mounted from it', async () => {
  const it = setUp();
  await it.stage();
  await it.node.mounter.unmount(it.stagingTargetPath);
  await it.node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  Object.assign(it.disk(), { state: 'down' });
  await expect(it.stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /still mounted at .*pods\/p1\/mount/));
  expect(it.node.driver.flushed).toStrictEqual([]);
  expect(it.node.mounter.mounts.map(({ target }) => target)).toStrictEqual([it.targetPath]);
});
