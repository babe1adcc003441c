import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../rpc/status.ts';
import { context, fails, setUp } from '../testing/calls.ts';

test('unstage unmounts, flushes and unlocks; repeating it, or unstaging what never was staged, is success', async () => {
  const { node, stage, unstage } = setUp();
  await stage();
  await unstage();
  assert.deepEqual(node.mounter.mounts, []);
  assert.deepEqual(node.driver.flushed, ['e7.3']);
  assert.equal(node.target.holder, undefined);
  await unstage();
  node.volumes.items.clear();
  await unstage();
});

test('unstage of a volume that is still published is an error, and leaves the staging mount', async () => {
  const { node, stage, publish, unstage } = setUp();
  await stage();
  await publish();
  await assert.rejects(unstage(), fails(Code.INTERNAL, /still mounted.*pods\/p1/));
  assert.equal(node.mounter.mounts.length, 2);
});

test('a busy unmount is an error: the disk is not flushed and the lock is kept', async () => {
  const { node, stage, unstage, stagingTargetPath } = setUp();
  await stage();
  node.mounter.stuck.add(stagingTargetPath);
  await assert.rejects(unstage(), fails(Code.INTERNAL, /busy/));
  assert.deepEqual(node.driver.flushed, []);
  assert.equal(node.target.holder?.node, 'worker-1');
});

test('a disk used from another namespace is not flushed', async () => {
  const { disk, node, stage, unstage } = setUp();
  await stage();
  Object.assign(disk(), { busy: true });
  await assert.rejects(unstage(), fails(Code.INTERNAL, /still in use/));
  assert.equal(node.target.holder?.node, 'worker-1');
});

test('a storage node that is down does not hold up unstage, except for an external target', async () => {
  for (const external of ['false', 'true']) {
    const { node, stage, unstage } = setUp({ external });
    await stage();
    node.segment.targets.clear();
    if (external === 'false') await unstage();
    else await assert.rejects(unstage(), fails(Code.UNAVAILABLE, /does not answer, so its lock stays/));
    assert.deepEqual(node.mounter.mounts, []);
  }
});

test('unstage leaves a disk alone whose address belongs to another staged volume by now', async () => {
  const { node, stage, unstage, service, stagingTargetPath } = setUp();
  await node.deps.staged.put('v0', {
    version: 1,
    volumeUID: 'uid-0',
    address: 'e7.3',
    access: 'Exclusive',
    external: false,
    stagingPath: '/old',
  });
  await stage();
  await service.nodeUnstageVolume({ volumeId: 'v0', stagingTargetPath: '/old' }, context);
  assert.deepEqual(node.driver.flushed, []);
  assert.equal(node.mounter.mounts[0]?.target, stagingTargetPath);
  assert.equal(await node.deps.staged.get('v0'), undefined);
  await unstage();
  assert.deepEqual(node.driver.flushed, ['e7.3']);
});

for (const [what, change] of [
  ['a program has open', { openedBy: ['process 77 (qemu)'] }],
  ['a program has open, and that is down', { openedBy: ['process 77 (qemu)'], state: 'closewait' }],
] as const) {
  test(`a disk that ${what} is not flushed, and the error names the program`, async () => {
    const { disk, node, stage, unstage } = setUp();
    await stage();
    Object.assign(disk(), change);
    await assert.rejects(unstage(), fails(Code.INTERNAL, /e7\.3 is still in use on this node, by process 77 \(qemu\)/));
    assert.deepEqual(node.driver.flushed, []);
    assert.equal(node.target.holder?.node, 'worker-1');
    Object.assign(disk(), { openedBy: [], state: 'down' });
    await unstage();
    assert.deepEqual(node.driver.flushed, ['e7.3']);
  });
}
