import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code } from '../../rpc/status.ts';
import { Semaphore } from '../../run/semaphore.ts';
import { AccessMode, type VolumeCapability } from './calls/requests.ts';
import { nodeService } from './service.ts';
import { FakeNode } from './testing/fakes.ts';

const mountOf = (fsType = 'ext4', mode: number = AccessMode.SingleNodeWriter): VolumeCapability => ({
  mount: { fsType },
  accessMode: { mode },
});
const block: VolumeCapability = { block: {}, accessMode: { mode: AccessMode.SingleNodeWriter } };

function setUp(context: Record<string, string> = {}) {
  const node = new FakeNode();
  const service = nodeService(node.deps, { segment: 'rack-1', diskThreads: new Semaphore(2) });
  const stagingTargetPath = join(node.directory, 'staging');
  const targetPath = join(node.directory, 'pods/p1/mount');
  const publishContext = { address: 'e7.3', serial: 'S1', volumeUID: 'uid-1', access: 'Exclusive', external: 'false', ...context };
  const base = { volumeId: 'v1', publishContext, stagingTargetPath };
  return {
    node,
    service,
    stagingTargetPath,
    targetPath,
    publishContext,
    stage: (volumeCapability = mountOf()) => service.nodeStageVolume({ ...base, volumeCapability }),
    unstage: () => service.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath }),
    publish: (volumeCapability = mountOf(), extra = {}) => service.nodePublishVolume({ ...base, targetPath, volumeCapability, ...extra }),
    unpublish: () => service.nodeUnpublishVolume({ volumeId: 'v1', targetPath }),
  };
}

const fails = (code: number, message: RegExp) => (error: unknown) => {
  const { code: found, message: text } = error as { code: number; message: string };
  expect(found, text).toBe(code);
  expect(text).toMatch(message);
  return true;
};

test('NodeGetInfo tells node, segment and the limit of the driver', async () => {
  const info = await setUp().service.nodeGetInfo();
  expect(info).toStrictEqual({
    nodeId: 'worker-1',
    maxVolumesPerNode: 65536,
    accessibleTopology: { segments: { 'aoe.dev/segment': 'rack-1' } },
  });
});

test('stage locks, formats an empty disk once and mounts it; repeating it changes nothing', async () => {
  const { node, stage, stagingTargetPath } = setUp();
  await stage();
  await stage();
  expect(node.filesystems.calls).toStrictEqual(['format ext4']);
  expect(node.mounter.calls).toStrictEqual([`mount  /dev/etherd/e7.3 ${stagingTargetPath}`]);
  expect(node.target.holder?.node).toBe('worker-1');
  expect(node.volumes.items.get('v1')?.status?.filesystem).toStrictEqual({ type: 'ext4', state: 'Formatted' });
});

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
  node.target.foreign = 'net.corvus.apple X';
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /net\.corvus\.apple X/));
});

test('a wrong serial on the wire is refused before the disk is locked', async () => {
  const { node, stage } = setUp({ serial: 'OTHER' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /wrong disk.*"S1".*"OTHER"/));
  expect(node.wire.calls).toStrictEqual([]);
  expect(node.filesystems.calls).toStrictEqual([]);
});

test('a disk that the kernel remembers from an earlier target is flushed and found again', async () => {
  const { node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(node.driver.known.get('e7.3') ?? {}, { serial: 'OLD' });
  await stage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a wrong disk in the kernel that is in use is not flushed; the stage fails and gives the lock back', async () => {
  const { node, stage } = setUp();
  await node.driver.attach('e7.3');
  Object.assign(node.driver.known.get('e7.3') ?? {}, { serial: 'OLD', busy: true });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /wrong disk/));
  expect(node.driver.flushed).toStrictEqual([]);
  expect(node.target.holder).toBeUndefined();
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

test('an AoEVolume that was made anew since the attachment is refused', async () => {
  const { stage } = setUp({ volumeUID: 'uid-0' });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /made anew/));
});

test('an unknown volume is NOT_FOUND', async () => {
  const { node, stage } = setUp();
  node.volumes.items.clear();
  await expect(stage()).rejects.toSatisfy(fails(Code.NOT_FOUND, /no AoEVolume v1/));
});

test('missing and malformed fields are INVALID_ARGUMENT', async () => {
  const { service, publishContext, stagingTargetPath, targetPath } = setUp();
  const good = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const invalid = (message: RegExp) => fails(Code.INVALID_ARGUMENT, message);
  await expect(service.nodeStageVolume({ ...good, volumeId: '' })).rejects.toSatisfy(invalid(/volume_id/));
  await expect(service.nodeStageVolume({ ...good, stagingTargetPath: '' })).rejects.toSatisfy(invalid(/staging_target_path/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: null })).rejects.toSatisfy(invalid(/volume_capability/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: mountOf('btrfs') })).rejects.toSatisfy(invalid(/btrfs/));
  await expect(service.nodeStageVolume({ ...good, volumeCapability: { accessMode: { mode: 1 } } })).rejects.toSatisfy(
    invalid(/neither block nor mount/),
  );
  await expect(service.nodeStageVolume({ ...good, publishContext: {} })).rejects.toSatisfy(invalid(/publish_context/));
  await expect(service.nodeStageVolume({ ...good, publishContext: { ...publishContext, address: 'e4095.1' } })).rejects.toSatisfy(
    invalid(/e4095\.1/),
  );
  await expect(service.nodeUnstageVolume({ volumeId: 'v1' })).rejects.toSatisfy(invalid(/staging_target_path/));
  await expect(service.nodePublishVolume({ ...good, targetPath: '' })).rejects.toSatisfy(invalid(/target_path/));
  await expect(service.nodeUnpublishVolume({ volumeId: '', targetPath })).rejects.toSatisfy(invalid(/volume_id/));
  await expect(service.nodeGetVolumeStats({ volumeId: 'v1' })).rejects.toSatisfy(invalid(/volume_path/));
});

test('access beyond what the volume has is FAILED_PRECONDITION', async () => {
  await expect(setUp().stage(mountOf('ext4', AccessMode.MultiNodeMultiWriter))).rejects.toSatisfy(
    fails(Code.FAILED_PRECONDITION, /several nodes/),
  );
  await expect(setUp({ access: 'ReadOnlyMany' }).stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /for reading/));
  await expect(setUp({ access: 'Shared' }).stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /raw block/));
});

test('ReadOnlyMany mounts without lock, journal replay or check, and never formats', async () => {
  const { node, stage, stagingTargetPath } = setUp({ access: 'ReadOnlyMany' });
  await expect(stage(mountOf('ext4', AccessMode.MultiNodeReaderOnly))).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /empty/));
  node.target.content = { kind: 'found', type: 'ext4' };
  await stage(mountOf('ext4', AccessMode.MultiNodeReaderOnly));
  expect(node.mounter.calls).toStrictEqual([`mount ro,noload /dev/etherd/e7.3 ${stagingTargetPath}`]);
  expect(node.filesystems.calls).toStrictEqual([]);
  expect(node.wire.calls).toStrictEqual([]);
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

test('publish binds, once; unpublish removes mount and target path, and is repeatable', async () => {
  const { node, stage, publish, unpublish, targetPath } = setUp();
  await expect(publish()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /not staged/));
  await stage();
  await publish();
  await publish();
  expect(node.mounter.mounts).toHaveLength(2);
  await expect(publish(mountOf(), { readonly: true })).rejects.toSatisfy(fails(Code.ALREADY_EXISTS, /taken/));
  await unpublish();
  expect(existsSync(targetPath)).toBe(false);
  await unpublish();
});

test('publish for reading only is never writable for a moment', async () => {
  const { node, stage, publish } = setUp();
  await stage();
  await publish(mountOf(), { readonly: true });
  expect(node.mounter.mounts[1]?.options).toStrictEqual(['ro']);
  expect(node.mounter.calls).toHaveLength(2);
});

test('a volume for a single writer is published at one path only', async () => {
  const { stage, publish, targetPath } = setUp();
  const single = mountOf('ext4', AccessMode.SingleNodeSingleWriter);
  await stage(single);
  await publish(single);
  await expect(publish(single, { targetPath: `${targetPath}2` })).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /one pod at a time/));
});

test('unstage of a volume that is still published is an error, and leaves the staging mount', async () => {
  const { node, stage, publish, unstage } = setUp();
  await stage();
  await publish();
  await expect(unstage()).rejects.toSatisfy(fails(Code.INTERNAL, /still mounted.*pods\/p1/));
  expect(node.mounter.mounts).toHaveLength(2);
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
  const { node, stage, unstage } = setUp();
  await stage();
  Object.assign(node.driver.known.get('e7.3') ?? {}, { busy: true });
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

test('unpublish does not delete what lies in the target directory', async () => {
  const { unpublish, targetPath } = setUp();
  mkdirSync(targetPath, { recursive: true });
  writeFileSync(join(targetPath, 'data'), 'x');
  await expect(unpublish()).rejects.toSatisfy(fails(Code.INTERNAL, /cannot be removed/));
  expect(existsSync(join(targetPath, 'data'))).toBe(true);
});

test('stats of an unknown path are NOT_FOUND; a disk that is down is an abnormal condition', async () => {
  const { node, service, stage, stagingTargetPath } = setUp();
  const ask = (volumePath: string) => service.nodeGetVolumeStats({ volumeId: 'v1', volumePath });
  await expect(ask('/nowhere')).rejects.toSatisfy(fails(Code.NOT_FOUND, /not published/));
  await stage();
  mkdirSync(stagingTargetPath);
  const good = await ask(stagingTargetPath);
  expect(good.usage.map((each) => each.unit)).toStrictEqual([1, 2]);
  expect(good.volumeCondition.abnormal).toBe(false);
  Object.assign(node.driver.known.get('e7.3') ?? {}, { state: 'down,closewait' });
  const bad = await ask(stagingTargetPath);
  expect(bad.volumeCondition.abnormal).toBe(true);
  expect(bad.volumeCondition.message).toMatch(/down,closewait/);
});

test('an aborted call is DEADLINE_EXCEEDED, not a stack trace', async () => {
  const { node, service, publishContext, stagingTargetPath } = setUp();
  node.wire.survey = async () => {
    throw new DOMException('too late', 'TimeoutError');
  };
  const request = { volumeId: 'v1', publishContext, stagingTargetPath, volumeCapability: mountOf() };
  const call = service.nodeStageVolume(request, { signal: AbortSignal.abort() });
  await expect(call).rejects.toSatisfy(fails(Code.DEADLINE_EXCEEDED, /NodeStageVolume on node worker-1: too late/));
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
  await service.nodeUnstageVolume({ volumeId: 'v0', stagingTargetPath: '/old' });
  expect(node.driver.flushed).toStrictEqual([]);
  expect(node.mounter.mounts[0]?.target).toBe(stagingTargetPath);
  expect(await node.deps.staged.get('v0')).toBeUndefined();
  await unstage();
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a mount that the kernel made read-only after errors is mounted anew', async () => {
  const { node, stage, stagingTargetPath } = setUp();
  await stage();
  node.mounter.mounts = node.mounter.mounts.map((each) => ({ ...each, superOptions: ['ro'] }));
  await stage();
  expect(node.mounter.calls.slice(1)).toStrictEqual([`umount ${stagingTargetPath}`, `mount  /dev/etherd/e7.3 ${stagingTargetPath}`]);
});

/** Another host had the volume since, and is done with it. */
function hadByAnother({ node }: ReturnType<typeof setUp>): void {
  delete node.target.holder;
  node.mounter.calls.length = 0;
}

test('a mount from before another host had the volume is not used again: not by a stage', async () => {
  const it = setUp();
  await it.stage();
  await it.publish();
  hadByAnother(it);
  await it.stage();
  expect(it.node.mounter.calls).toStrictEqual([
    `umount -l ${it.targetPath}`,
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
  ]);
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
  expect(it.node.filesystems.calls).toStrictEqual(['format ext4', 'check ext4']);
});

test('a mount from before another host had the volume is not used again: not by a publish alone', async () => {
  const it = setUp();
  await it.stage();
  hadByAnother(it);
  await it.publish();
  expect(it.node.mounter.calls).toStrictEqual([
    `umount -l ${it.stagingTargetPath}`,
    `mount  /dev/etherd/e7.3 ${it.stagingTargetPath}`,
    `mount bind ${it.stagingTargetPath} ${it.targetPath}`,
  ]);
  expect(it.node.target.holder?.node).toBe('worker-1');
});

test('while a container of before still has the disk open, it is not staged again', async () => {
  const it = setUp();
  await it.stage(block);
  hadByAnother(it);
  Object.assign(it.node.driver.known.get('e7.3') ?? {}, { busy: true });
  for (const call of [it.stage, it.publish]) await expect(call(block)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /still in use/));
  Object.assign(it.node.driver.known.get('e7.3') ?? {}, { busy: false });
  await it.stage(block);
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
});

test('a stage that was killed at any line after the lock was taken does not take down what runs', async () => {
  const it = setUp();
  await it.stage();
  // The lock is taken anew, and then nothing is written down any more.
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
  expect(it.node.mounter.calls).toStrictEqual([`mount bind ${it.stagingTargetPath} ${it.targetPath}`]);
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
  expect(it.node.mounter.calls).toStrictEqual([`mount bind ${it.stagingTargetPath} ${it.targetPath}`]);
});

test('a disk that another node got while this one was slow is not formatted, and its state is not overwritten', async () => {
  const it = setUp();
  const get = it.node.volumes.get.bind(it.node.volumes);
  it.node.volumes.get = async (name) => {
    const volume = await get(name);
    // After the second look, which is under the lock: fenced, formatted by the next, in use.
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

test('after the Node was made anew, what was staged before keeps its lock, and gives it back', async () => {
  const it = setUp();
  await it.stage();
  const anew = nodeService({ ...it.node.deps, nodeUID: 'another' }, { segment: 'rack-1', diskThreads: new Semaphore(2) });
  it.node.mounter.calls.length = 0;
  const { stagingTargetPath, targetPath, publishContext } = it;
  await anew.nodePublishVolume({ volumeId: 'v1', publishContext, stagingTargetPath, targetPath, volumeCapability: mountOf() });
  expect(it.node.mounter.calls).toStrictEqual([`mount bind ${stagingTargetPath} ${targetPath}`]);
  expect(it.node.target.holder?.nodeUID).toBe('uid-of-worker-1');
  await anew.nodeUnpublishVolume({ volumeId: 'v1', targetPath });
  await anew.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath });
  expect(it.node.target.holder).toBeUndefined();
});
