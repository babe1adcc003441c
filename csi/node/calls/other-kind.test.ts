import { Code } from '../../../rpc/status.ts';
import { block, fails, setUp } from '../testing/calls.ts';

test('what is used as a file system is not staged or published as a raw disk, and not the other way round', async () => {
  const { node, stage, unstage, publish, unpublish, targetPath } = setUp();
  await stage();
  await expect(stage(block)).rejects.toSatisfy(fails(Code.ALREADY_EXISTS, /used as a file system already, at .*staging/));
  await expect(publish(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /staged as a file system/));
  await unstage();
  await stage(block);
  // A fake device node is no device, so that NodePublishVolume would refuse it.
  await node.mounter.mount('/dev/etherd/e7.3', targetPath, { options: ['bind'] });
  node.filesystems.calls.length = 0;
  await expect(stage()).rejects.toSatisfy(fails(Code.ALREADY_EXISTS, /used as a raw block device already, at .*pods/));
  await stage(block);
  expect(node.filesystems.calls).toStrictEqual([]);
  await unpublish();
  await stage();
  expect(node.target.holder?.node).toBe('worker-1');
});
