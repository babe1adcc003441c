import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Code } from '../../../rpc/status.ts';
import { fails, Mode, mountOf, setUp } from '../testing/calls.ts';

test('publish binds, once; unpublish removes mount and target path, and is repeatable', async () => {
  const { node, stage, publish, unpublish, targetPath } = setUp();
  await assert.rejects(publish(), fails(Code.FAILED_PRECONDITION, /not staged/));
  await stage();
  await publish();
  await publish();
  assert.equal(node.mounter.mounts.length, 2);
  await assert.rejects(publish(mountOf(), { readonly: true }), fails(Code.ALREADY_EXISTS, /taken/));
  await unpublish();
  assert.equal(existsSync(targetPath), false);
  await unpublish();
});

test('publish for reading only is never writable for a moment', async () => {
  const { node, stage, publish } = setUp();
  await stage();
  await publish(mountOf(), { readonly: true });
  assert.deepEqual(node.mounter.mounts[1]?.options, ['ro']);
  assert.equal(node.mounter.calls.length, 2);
});

test('a volume for a single writer is published at one path only', async () => {
  const { stage, publish, targetPath } = setUp();
  const single = mountOf('ext4', Mode.SINGLE_NODE_SINGLE_WRITER);
  await stage(single);
  await publish(single);
  await assert.rejects(publish(single, { targetPath: `${targetPath}2` }), fails(Code.FAILED_PRECONDITION, /one pod at a time/));
});

test('unpublish does not delete what lies in the target directory', async () => {
  const { unpublish, targetPath } = setUp();
  mkdirSync(targetPath, { recursive: true });
  writeFileSync(join(targetPath, 'data'), 'x');
  await assert.rejects(unpublish(), fails(Code.INTERNAL, /cannot be removed/));
  assert.equal(existsSync(join(targetPath, 'data')), true);
});

test('a mount from before another host had the volume is not used again: not by a publish alone', async () => {
  const it = setUp();
  await it.stage();
  it.hadByAnother();
  await it.publish();
  assert.deepEqual(it.node.mounter.calls, [
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
    `mount bind ${it.stagingTargetPath} ${it.targetPath}`,
  ]);
  assert.equal(it.node.target.holder?.node, 'worker-1');
});
