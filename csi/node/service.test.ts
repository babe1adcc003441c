import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromInt64 } from '../../rpc/mod.ts';
import { Code } from '../../rpc/status.ts';
import { nodeService } from './service.ts';
import { context, fails, mountOf, setUp } from './testing/calls.ts';

test('NodeGetInfo tells node, segment and the limit of the driver', async () => {
  const { maxVolumesPerNode, ...info } = await setUp().service.nodeGetInfo({}, context);
  assert.equal(fromInt64(maxVolumesPerNode), 65536);
  assert.deepEqual(info, {
    nodeId: 'worker-1',
    accessibleTopology: { segments: { 'aoe.dev/segment': 'rack-1' } },
  });
});

test('missing and malformed fields are INVALID_ARGUMENT', async () => {
  const { service, publishContext, stagingTargetPath, targetPath } = setUp();
  const good = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const invalid = (message: RegExp) => fails(Code.INVALID_ARGUMENT, message);
  await assert.rejects(service.nodeStageVolume({ ...good, volumeId: '' }, context), invalid(/volume_id/));
  await assert.rejects(service.nodeStageVolume({ ...good, stagingTargetPath: '' }, context), invalid(/staging_target_path/));
  await assert.rejects(service.nodeStageVolume({ ...good, volumeCapability: null }, context), invalid(/volume_capability/));
  await assert.rejects(service.nodeStageVolume({ ...good, volumeCapability: mountOf('btrfs') }, context), invalid(/btrfs/));
  await assert.rejects(
    service.nodeStageVolume({ ...good, volumeCapability: { accessMode: { mode: 1 } } }, context),
    invalid(/neither block nor mount/),
  );
  await assert.rejects(service.nodeStageVolume({ ...good, publishContext: {} }, context), invalid(/publish_context/));
  await assert.rejects(
    service.nodeStageVolume({ ...good, publishContext: { ...publishContext, address: 'e4095.1' } }, context),
    invalid(/e4095\.1/),
  );
  await assert.rejects(service.nodeUnstageVolume({ volumeId: 'v1' }, context), invalid(/staging_target_path/));
  await assert.rejects(service.nodePublishVolume({ ...good, targetPath: '' }, context), invalid(/target_path/));
  await assert.rejects(service.nodeUnpublishVolume({ volumeId: '', targetPath }, context), invalid(/volume_id/));
  await assert.rejects(service.nodeGetVolumeStats({ volumeId: 'v1' }, context), invalid(/volume_path/));
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
  await assert.rejects(unstage(), fails(Code.ABORTED, /NodeStageVolume is still under way/));
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
  await assert.rejects(call, fails(Code.DEADLINE_EXCEEDED, /NodeStageVolume on node worker-1: too late/));
});

test('after the Node was made anew, what was staged before keeps its lock, and gives it back', async () => {
  const it = setUp();
  await it.stage();
  const anew = nodeService({ ...it.node.deps, nodeUID: 'another' }, { segment: 'rack-1' });
  it.node.mounter.calls.length = 0;
  const { stagingTargetPath, targetPath, publishContext } = it;
  await anew.nodePublishVolume({ volumeId: 'v1', publishContext, stagingTargetPath, targetPath, volumeCapability: mountOf() }, context);
  assert.deepEqual(it.node.mounter.calls, [`mount bind ${stagingTargetPath} ${targetPath}`]);
  assert.equal(it.node.target.holder?.nodeUID, 'uid-of-worker-1');
  await anew.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context);
  await anew.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath }, context);
  assert.equal(it.node.target.holder, undefined);
});
