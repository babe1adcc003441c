import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code } from '../../../rpc/status.ts';
import { guard } from '../disk/guard.ts';
import { fails, guardAt, Mode, mountOf, setUp } from '../testing/calls.ts';

test('publish binds, once; unpublish removes mount and target path, and is repeatable', async () => {
  const { node, stage, publish, unpublish, targetPath } = setUp();
  await expect(publish()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /not staged/));
  await stage();
  await publish();
  await publish();
  expect(node.mounter.mounts.map(({ type }) => type)).toStrictEqual(['ext4', 'tmpfs', 'ext4']);
  await expect(publish(mountOf(), { readonly: true })).rejects.toSatisfy(fails(Code.ALREADY_EXISTS, /taken/));
  await unpublish();
  expect(existsSync(targetPath)).toBe(false);
  await unpublish();
});

test('publish for reading only is never writable for a moment', async () => {
  const { node, stage, publish, stagingTargetPath, targetPath } = setUp();
  await stage();
  await publish(mountOf(), { readonly: true });
  expect(node.mounter.mounts.at(-1)?.options).toStrictEqual(['ro']);
  expect(node.mounter.calls.slice(1)).toStrictEqual([guardAt(targetPath), `mount bind,ro ${stagingTargetPath} ${targetPath}`]);
});

test('a publish that fails leaves nothing mounted, and one that was killed is repeated', async () => {
  const { node, stage, publish, targetPath } = setUp();
  await stage();
  const mount = node.mounter.mount.bind(node.mounter);
  node.mounter.mount = async (source, target, options) => {
    if (options.options.includes('bind')) throw new Error('mount failed');
    return mount(source, target, options);
  };
  await expect(publish()).rejects.toThrow(/mount failed/);
  expect(node.mounter.mounts.map(({ type }) => type)).toStrictEqual(['ext4']);
  node.mounter.mount = mount;
  await guard(node.mounter, targetPath, new AbortController().signal);
  await publish();
  expect(node.mounter.mounts.map(({ type }) => type)).toStrictEqual(['ext4', 'tmpfs', 'ext4']);
});

test('a volume for a single writer is published at one path only', async () => {
  const { stage, publish, targetPath } = setUp();
  const single = mountOf('ext4', Mode.SINGLE_NODE_SINGLE_WRITER);
  await stage(single);
  await publish(single);
  await expect(publish(single, { targetPath: `${targetPath}2` })).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /one pod at a time/));
});

test('unpublish does not delete what lies in the target directory', async () => {
  const { unpublish, targetPath } = setUp();
  mkdirSync(targetPath, { recursive: true });
  writeFileSync(join(targetPath, 'data'), 'x');
  await expect(unpublish()).rejects.toSatisfy(fails(Code.INTERNAL, /cannot be removed/));
  expect(existsSync(join(targetPath, 'data'))).toBe(true);
});

test('a mount from before another host had the volume is not used again: not by a publish alone', async () => {
  const it = setUp();
  await it.stage();
  it.hadByAnother();
  await it.publish();
  expect(it.node.mounter.calls).toStrictEqual([
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
    guardAt(it.targetPath),
    `mount bind ${it.stagingTargetPath} ${it.targetPath}`,
  ]);
  expect(it.node.target.holder?.node).toBe('worker-1');
});
