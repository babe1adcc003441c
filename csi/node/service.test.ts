import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fromInt64 } from '../../rpc/mod.ts';
import { Code, type RpcError } from '../../rpc/status.ts';
import { nodeService } from './service.ts';
import { context, fails, guardAt, mountOf, setUp } from './testing/calls.ts';

test('NodeGetInfo tells node, segment and the limit of the driver', async () => {
  const { maxVolumesPerNode, ...info } = await setUp().service.nodeGetInfo({}, context);
  expect(fromInt64(maxVolumesPerNode)).toBe(65536);
  expect(info).toStrictEqual({
    nodeId: 'worker-1',
    accessibleTopology: { segments: { 'aoe.dev/segment': 'rack-1' } },
  });
});

test('NodeGetInfo leaves no place for disks of other targets', async () => {
  const { service, stage, node } = setUp();
  await stage();
  const free = async () => fromInt64((await service.nodeGetInfo({}, context)).maxVolumesPerNode);
  expect(await free()).toBe(65536);
  const { disk } = node.driver.known.get('e7.3') ?? assert.fail('the kernel has no disk e7.3');
  for (const address of ['e9.1', 'e9.2']) node.driver.known.set(address, { serial: 'OTHER', disk, state: 'up', busy: false, openedBy: [] });
  expect(await free()).toBe(65534);
});

test('NodeGetInfo names no segment while the node cannot mount volumes', async () => {
  const service = nodeService(setUp().node.deps, { segment: 'rack-1', hasTopology: () => false });
  expect(await service.nodeGetInfo({}, context)).not.toHaveProperty('accessibleTopology');
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
  const { node, service, stage, publishContext, stagingTargetPath, targetPath } = setUp();
  await stage();
  node.wire.configs = async () => {
    throw new DOMException('too late', 'TimeoutError');
  };
  const request = { volumeId: 'v1', publishContext, stagingTargetPath, targetPath, volumeCapability: mountOf() };
  const call = service.nodePublishVolume(request, { ...context, signal: AbortSignal.abort() });
  await expect(call).rejects.toSatisfy(fails(Code.DEADLINE_EXCEEDED, /NodePublishVolume on node worker-1: too late/));
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
  expect(it.node.mounter.calls).toStrictEqual([guardAt(targetPath), `mount bind ${stagingTargetPath} ${targetPath}`]);
  expect(it.node.target.holder?.nodeUID).toBe('uid-of-worker-1');
  await restarted.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context);
  await restarted.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath }, context);
  expect(it.node.target.holder).toBeUndefined();
});

test('a hundred volumes at once on a slow disk, whose callers give up and call again: each is staged once, and then unstaged once', async () => {
  const it = setUp();
  const { node, service } = it;
  const ids = Array.from({ length: 100 }, (_, index) => `many-${index}`);
  const begun = new Map<string, number>();
  const count = (what: string): void => void begun.set(what, (begun.get(what) ?? 0) + 1);
  let [now, most] = [0, 0];
  const slowly = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    count(what);
    most = Math.max(most, ++now);
    await delay(3);
    now--;
    return work();
  };
  for (const [index, id] of ids.entries()) {
    const template = node.volumes.items.get('v1') ?? assert.fail();
    const address = { shelf: 8, slot: index };
    node.segment.targets.set(`e8.${index}`, [{ ...node.target, serial: `S-${id}`, content: { kind: 'nothing' } }]);
    node.volumes.items.set(id, { ...template, metadata: { name: id, uid: `uid-${id}` }, spec: { ...template.spec, address } });
  }
  const attach = node.driver.attach.bind(node.driver);
  node.driver.attach = (address) => slowly(`attach ${address}`, () => attach(address));
  const flush = node.driver.flush.bind(node.driver);
  node.driver.flush = (address) => slowly(`flush ${address}`, () => flush(address));

  let givenUp = 0;
  const untilDone = async (call: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
    for (;;) {
      try {
        await call(AbortSignal.timeout(25));
        return;
      } catch (error) {
        expect((error as RpcError).code).toBe(Code.DEADLINE_EXCEEDED);
        givenUp++;
      }
    }
  };
  const staging = (id: string) => join(node.directory, 'staging', id);
  await Promise.all(
    ids.map((volumeId, index) => {
      const publishContext = { ...it.publishContext, address: `e8.${index}`, serial: `S-${volumeId}`, volumeUID: `uid-${volumeId}` };
      const request = { volumeId, publishContext, stagingTargetPath: staging(volumeId), volumeCapability: mountOf() };
      return untilDone((signal) => service.nodeStageVolume(request, { ...context, signal }));
    }),
  );
  expect(node.filesystems.calls).toHaveLength(100);
  expect(node.mounter.mounts).toHaveLength(100);
  await Promise.all(
    ids.map((volumeId) => {
      const request = { volumeId, stagingTargetPath: staging(volumeId) };
      return untilDone((signal) => service.nodeUnstageVolume(request, { ...context, signal }));
    }),
  );
  expect(node.mounter.mounts).toHaveLength(0);
  expect(begun.size).toBe(200);
  expect([...begun].filter(([, times]) => times !== 1)).toStrictEqual([]);
  expect(most).toBeLessThanOrEqual(3);
  expect(givenUp).toBeGreaterThan(100);
});

test('a stage whose check of the file system outlasts its caller is not begun again, and says what it waits for', async () => {
  const { node, service, stage, unstage, publishContext, stagingTargetPath } = setUp();
  await stage();
  await unstage();
  node.filesystems.calls.length = 0;
  const checking = Promise.withResolvers<void>();
  const checked = Promise.withResolvers<void>();
  const check = node.filesystems.check.bind(node.filesystems);
  node.filesystems.check = async (path, type) => {
    checking.resolve();
    await checked.promise;
    await check(path, type);
  };
  const caller = new AbortController();
  const request = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const first = service.nodeStageVolume(request, { ...context, signal: caller.signal });
  await checking.promise;
  caller.abort();
  await expect(first).rejects.toSatisfy(
    fails(Code.DEADLINE_EXCEEDED, /e2fsck of volume v1 on node worker-1 has been running for 0 s; it goes on/),
  );
  await expect(unstage()).rejects.toSatisfy(fails(Code.ABORTED, /e2fsck of volume v1 on node worker-1/));
  const reordered = Object.fromEntries(Object.entries(publishContext).toReversed());
  const second = service.nodeStageVolume({ ...request, publishContext: reordered }, context);
  checked.resolve();
  await second;
  expect(node.filesystems.calls).toStrictEqual(['check ext4']);
});
