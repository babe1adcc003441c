import { fromInt64 } from '../../rpc/mod.ts';
import { Code } from '../../rpc/status.ts';
import { nodeService } from './service.ts';
import { context, fails, mountOf, setUp } from './testing/calls.ts';

test('NodeGetInfo tells node, segment and the limit of the driver', async () => {
  const { maxVolumesPerNode, ...info } = await setUp().service.nodeGetInfo({}, context);
  expect(fromInt64(maxVolumesPerNode)).toBe(65536);
  expect(info).toStrictEqual({
    nodeId: 'worker-1',
    accessibleTopology: { segments: { 'aoe.dev/segment': 'rack-1' } },
  });
});

test('missing and malformed fields are INVALID_ARGUMENT', async () => {
  const { service, publishContext, stagingTargetPath, targetPath } = setUp();
  const good = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const invalid = (message: RegExp) => fails(Code.INVALID_ARGUMENT, message);
  await expect(service.nodeStageVolume({ ...good, volumeId: '' }, context)).rejects.toSatisfy(invalid(/volume_id/));
  await expect(service.nodeStageVolume({ ...good, stagingTargetPath: '' }, context)).rejects.toSatisfy(invalid(/staging_target_path/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: null }, context)).rejects.toSatisfy(invalid(/volume_capability/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: mountOf('btrfs') }, context)).rejects.toSatisfy(invalid(/btrfs/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: { accessMode: { mode: 1 } } }, context)).rejects.toSatisfy(
    invalid(/neither block nor mount/),
  );
  await expect(service.nodeStageVolume({ ...good, publishContext: {} }, context)).rejects.toSatisfy(invalid(/publish_context/));
  await expect(service.nodeStageVolume({ ...good, publishContext: { ...publishContext, address: 'e4095.1' } }, context)).rejects.toSatisfy(
    invalid(/e4095\.1/),
  );
  await expect(service.nodeUnstageVolume({ volumeId: 'v1' }, context)).rejects.toSatisfy(invalid(/staging_target_path/));
  await expect(service.nodePublishVolume({ ...good, targetPath: '' }, context)).rejects.toSatisfy(invalid(/target_path/));
  await expect(service.nodeUnpublishVolume({ volumeId: '', targetPath }, context)).rejects.toSatisfy(invalid(/volume_id/));
  await expect(service.nodeGetVolumeStats({ volumeId: 'v1' }, context)).rejects.toSatisfy(invalid(/volume_path/));
});

test('an operation for a volume that is under way makes another ABORTED', async () => {
  const { node, stage, unstage } = setUp();
  const { promise, resolve } = Promise.withResolvers<void>();
  const attach = node.driver.attach.bind(node.driver);
  node.driver.attach = async (address) => {
    await promise;
    return attach(address);
  };
  const first = stage();
  await expect(unstage()).rejects.toSatisfy(fails(Code.ABORTED, /NodeStageVolume is still under way/));
  resolve();
  await first;
});

test('an aborted call is DEADLINE_EXCEEDED, not a stack trace', async () => {
  const { node, service, publishContext, stagingTargetPath } = setUp();
  node.wire.survey = async () => {
    throw new DOMException('too late', 'TimeoutError');
  };
  const request = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const call = service.nodeStageVolume(request, { ...context, signal: AbortSignal.abort() });
  await expect(call).rejects.toSatisfy(fails(Code.DEADLINE_EXCEEDED, /NodeStageVolume on node worker-1: too late/));
});

test('when the Node was deleted and created again, a volume that was staged before keeps its lock, and unstage releases it', async () => {
  const it = setUp();
  await it.stage();
  const restarted = nodeService({ ...it.node.deps, nodeUID: 'another' }, { segment: 'rack-1' });
  it.node.mounter.calls.length = 0;
  const { stagingTargetPath, targetPath, publishContext } = it;
  await restarted.nodePublishVolume(
    { volumeId: 'v1', publishContext, stagingTargetPath, targetPath, volumeCapability: mountOf() },
    context,
  );
  expect(it.node.mounter.calls).toStrictEqual([`mount bind ${stagingTargetPath} ${targetPath}`]);
  expect(it.node.target.holder?.nodeUID).toBe('uid-of-worker-1');
  await restarted.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context);
  await restarted.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath }, context);
  expect(it.node.target.holder).toBeUndefined();
});
