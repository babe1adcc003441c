import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AoEVolume } from '../../../api/volume.ts';
import { KubeError } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { nodeService } from '../service.ts';
import { context } from '../testing/calls.ts';
import { FakeNode } from '../testing/fakes.ts';
import { LostVolumes } from './lost-volumes.ts';

const MAC = '02:00:00:00:00:07';
const POD = '/pods/p/mount';
const signal = new AbortController().signal;

/** A node that has `v1` staged and published, and the events that it emits. */
async function staged(record: object = {}) {
  const node = new FakeNode();
  await node.driver.attach('e7.3');
  await node.mounter.mount('/dev/etherd/e7.3', '/staging/v1', { type: 'ext4', options: [] });
  await node.mounter.mount('/staging/v1', POD, { options: ['bind'] });
  await node.recordStaged(record);
  const events: string[] = [];
  const lostVolumes = new LostVolumes(node.deps, {
    macs: async () => [MAC],
    emit: (_volume, reason, message) => events.push(`${reason}: ${message}`),
  });
  const volume = node.volumes.items.get('v1') as AoEVolume;
  volume.spec.initiators = {};
  return {
    node,
    volume,
    events,
    check: async (times = 2) => {
      for (let i = 0; i < times; i++) await lostVolumes.check(signal);
    },
    untouched: async () => {
      expect(node.mounter.mounts.map(({ target }) => target)).toStrictEqual(['/staging/v1', POD]);
      expect(node.driver.flushed).toStrictEqual([]);
      expect(await node.deps.staged.get('v1')).toBeTruthy();
    },
  };
}

test('mounts and disk of a volume that the node lost are removed at the second check, those of the pod first', async () => {
  const it = await staged();
  it.volume.spec.initiators = { nodes: ['worker-2'] };
  it.volume.status = { initiators: { observedGeneration: 2, nodes: ['worker-2'], macs: ['02:00:00:00:00:08'] } };
  await it.check(1);
  await it.untouched();
  await it.check(1);
  expect(it.node.mounter.mounts).toStrictEqual([]);
  expect(it.node.mounter.calls.slice(-2)).toStrictEqual([`umount -l ${POD}`, 'umount -l /staging/v1']);
  expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
  expect(it.node.removed).toStrictEqual(['e7.3']);
  expect(await it.node.deps.staged.get('v1')).toBeUndefined();
  expect(it.events.join()).toMatch(
    /^StaleMountRemoved: node worker-1, which may not use the volume any more, has removed its mounts and the disk$/,
  );
  expect(it.node.wire.calls).toStrictEqual([]);
});

for (const [what, spec, status] of [
  ['is admitted by the spec', { nodes: ['worker-1'] }, undefined],
  ['is still admitted by the target', {}, { observedGeneration: 1, nodes: ['worker-1'], macs: [MAC] }],
  ['is admitted by the spec, by its MAC', { macs: [MAC] }, undefined],
  ['is still admitted by the target, by its MAC', {}, { observedGeneration: 1, macs: [MAC] }],
] as const) {
  test(`nothing is touched while the node ${what}`, async () => {
    const it = await staged();
    it.volume.spec.initiators = structuredClone(spec) as object;
    if (status) it.volume.status = { initiators: structuredClone(status) as never };
    await it.check(3);
    await it.untouched();
  });
}

test('nothing is touched while the API server does not answer', async () => {
  const it = await staged();
  it.node.volumes.get = async () => {
    throw new Error('connection refused');
  };
  await it.check(3);
  await it.untouched();
});

test('a node that is admitted again between two checks keeps its volume', async () => {
  const it = await staged();
  await it.check(1);
  it.volume.spec.initiators = { nodes: ['worker-1'] };
  await it.check(1);
  it.volume.spec.initiators = {};
  await it.check(1);
  await it.untouched();
});

test("the kubelet's own operation goes first", async () => {
  const it = await staged();
  await it.node.deps.jobs.run('v1', 'NodeUnstageVolume', () => it.check(2));
  await it.untouched();
});

test('a volume that was deleted, or deleted and created again under its name, is cleaned up without an event', async () => {
  for (const uid of [undefined, 'another']) {
    const it = await staged();
    if (uid) it.volume.metadata.uid = uid;
    else it.node.volumes.items.delete('v1');
    await it.check();
    expect(it.node.mounter.mounts).toStrictEqual([]);
    expect(it.events).toStrictEqual([]);
  }
});

for (const [who, use] of [
  ['an exclusive user', { busy: true }],
  ['a program, by a plain open,', { openedBy: ['process 77 (qemu)'] }],
  ['a program, while it is down,', { state: 'closewait' }],
] as const) {
  test(`a disk that ${who} has open stays, an event says so, and it is removed when that has ended`, async () => {
    const it = await staged();
    const known = it.node.driver.known.get('e7.3');
    assert.ok(known);
    Object.assign(known, use);
    await it.check();
    expect(it.node.driver.flushed).toStrictEqual([]);
    expect(await it.node.deps.staged.get('v1')).toBeTruthy();
    expect(it.events.join()).toMatch(
      /^StaleDiskInUse: node worker-1, which .*cannot remove it: disk e7\.3 is still in use on this node, by /,
    );
    Object.assign(known, { busy: false, openedBy: [], state: 'up' });
    await it.check(1);
    expect(it.node.driver.flushed).toStrictEqual(['e7.3']);
    // The mounts went with the first attempt.
    expect(it.events.at(-1)).toMatch(/^StaleMountRemoved: .* has removed its mounts and the disk$/);
  });
}

test('the disk of another volume that has the address now is not touched', async () => {
  const it = await staged();
  const record = await it.node.deps.staged.get('v1');
  assert.ok(record);
  await it.node.deps.staged.put('v2', { ...record, volumeUID: 'uid-2', stagingPath: '/staging/v2' });
  it.node.volumes.items.set('v2', {
    ...it.volume,
    metadata: { name: 'v2', uid: 'uid-2' },
    spec: { ...it.volume.spec, initiators: { nodes: ['worker-1'] } },
  });
  await it.check();
  expect(it.node.driver.flushed).toStrictEqual([]);
  expect(it.node.mounter.mounts.map(({ target }) => target)).toStrictEqual([POD]);
  expect(await it.node.deps.staged.get('v1')).toBeUndefined();
  expect(it.events.join()).toMatch(/^StaleMountRemoved: .* has removed its mount$/);
});

test('the lock on an external target is released if this node still has it', async () => {
  const it = await staged({ external: true });
  await it.check();
  expect(it.node.wire.calls).toStrictEqual(['release']);
});

test('a node whose lock on an external target is released is not the holder in the status any more, and another one stays it', async () => {
  for (const [holder, left] of [
    ['worker-1', undefined],
    ['worker-2', 'worker-2'],
  ] as const) {
    const it = await staged({ external: true });
    it.volume.status = { holder: { name: holder, node: holder, raw: 'lock' } };
    await it.check();
    expect(it.node.volumes.items.get('v1')?.status?.holder?.node).toBe(left);
  }
});

test('a node stays the holder of an external disk in the status no longer than the API server is away', async () => {
  const it = await staged({ external: true });
  it.volume.status = { holder: { name: 'worker-1', node: 'worker-1', raw: 'lock' } };
  const record = it.node.volumes.record.bind(it.node.volumes);
  it.node.volumes.record = async () => {
    throw new RpcError(Code.UNAVAILABLE, 'status cannot be written', { cause: new KubeError(503, 'Unreachable', 'away') });
  };
  await it.check();
  expect(it.volume.status.holder?.node).toBe('worker-1');
  it.node.volumes.record = record;
  await it.check(1);
  expect(it.node.volumes.items.get('v1')?.status?.holder).toBeUndefined();
  expect(await it.node.deps.staged.get('v1')).toBeUndefined();
});

test("an external disk that is the node's again before its lock was released is staged again, since its mount is gone", async () => {
  const it = await staged({ external: true });
  it.node.wire.release = async () => ({ outcome: 'unreachable' }) as never;
  await it.check();
  expect(it.node.mounter.mounts).toStrictEqual([]);
  it.volume.spec.initiators = { nodes: ['worker-1'] };
  await it.check(1);
  expect(await it.node.deps.staged.get('v1')).toBeTruthy();
  expect(await it.node.deps.staged.wasLost('v1')).toBe(true);
});

for (const [code, reason] of [
  [403, 'Forbidden'],
  [404, 'NotFound'],
  [422, 'Invalid'],
] as const) {
  test(`a clean-up is not repeated because the API server refuses that the holder is removed (${code})`, async () => {
    const it = await staged({ external: true });
    it.volume.status = { holder: { name: 'worker-1', node: 'worker-1', raw: 'lock' } };
    it.node.volumes.record = async () => {
      throw new RpcError(Code.INTERNAL, 'status cannot be written', { cause: new KubeError(code, reason, 'no') });
    };
    await it.check(4);
    expect(it.node.wire.calls).toStrictEqual(['release']);
    expect(await it.node.deps.staged.wasLost('v1')).toBe(true);
  });
}

test('a node that takes the lock of an external disk while another one forgets it stays the holder', async () => {
  const it = await staged({ external: true });
  it.volume.status = { holder: { name: 'worker-1', node: 'worker-1', raw: 'lock' } };
  const { volumes } = it.node;
  const record = volumes.record.bind(volumes);
  volumes.record = (...args) => {
    it.volume.status = { holder: { name: 'worker-2', node: 'worker-2', raw: 'lock' } };
    return record(...args);
  };
  await it.check();
  expect(volumes.items.get('v1')?.status?.holder?.node).toBe('worker-2');
  expect(await it.node.deps.staged.wasLost('v1')).toBe(true);
});

test('a pod that starts on the node after the clean-up gets its volume, although the kubelet does not stage it again', async () => {
  const it = await staged();
  it.volume.spec.initiators = { nodes: ['worker-2'] };
  await it.check();
  it.node.target.content = { kind: 'found', type: 'ext4' };
  it.volume.spec.initiators = { nodes: ['worker-1'] };
  const service = nodeService(it.node.deps, { segment: 's' });
  const base = {
    volumeId: 'v1',
    stagingTargetPath: '/staging/v1',
    volumeCapability: { mount: { fsType: 'ext4' }, accessMode: { mode: 1 } },
  };
  const targetPath = join(it.node.directory, 'pods/p2/mount');
  const publishContext = { address: 'e7.3', serial: 'S1', volumeUID: 'uid-1', access: 'Exclusive', external: 'false' };
  // An attachment of an earlier AoEVolume of that name does not count.
  await expect(
    service.nodePublishVolume({ ...base, targetPath, publishContext: { ...publishContext, volumeUID: 'uid-0' } }, context),
  ).rejects.toThrow();
  it.node.target.otherString = 'somebody';
  await expect(service.nodePublishVolume({ ...base, targetPath, publishContext }, context)).rejects.toThrow(/in use/);
  expect(it.node.mounter.mounts).toStrictEqual([]);
  delete it.node.target.otherString;
  await service.nodePublishVolume({ ...base, targetPath, publishContext }, context);
  expect(it.node.mounter.mounts.map(({ target }) => target)).toStrictEqual(['/staging/v1', targetPath, targetPath]);
  expect(it.node.target.holder?.node).toBe('worker-1');
  await service.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context);
  await service.nodeUnstageVolume(base, context);
  await expect(service.nodePublishVolume({ ...base, targetPath, publishContext }, context)).rejects.toThrow(/not staged/);
});

test('the mark of a lost volume goes when it is unstaged, or deleted', async () => {
  for (const end of ['unstage', 'delete']) {
    const it = await staged();
    it.volume.spec.initiators = { nodes: ['worker-2'] };
    await it.check();
    expect(await it.node.deps.staged.wasLost('v1')).toBe(true);
    if (end === 'delete') {
      it.node.volumes.items.delete('v1');
      await it.check(1);
    } else {
      const service = nodeService(it.node.deps, { segment: 's' });
      await service.nodeUnstageVolume({ volumeId: 'v1', stagingTargetPath: '/staging/v1' }, context);
    }
    expect(await it.node.deps.staged.wasLost('v1'), end).toBe(false);
  }
});

test('a stage that runs a long e2fsck when the node loses the volume is ended, and what it left is cleaned up', async () => {
  const node = new FakeNode();
  await node.recordStaged();
  const lostVolumes = new LostVolumes(node.deps, { macs: async () => [MAC], emit: () => {} });
  await node.driver.attach('e7.3');
  const check = (job: AbortSignal) =>
    new Promise<void>((_resolve, reject) => job.addEventListener('abort', () => reject(new Error('e2fsck: killed by SIGKILL'))));
  const request = { volumeId: 'v1', operation: 'NodeStageVolume', args: '' };
  const staging = expect(node.deps.jobs.queue(request, check, signal)).rejects.toMatchObject({
    code: Code.ABORTED,
    message: expect.stringMatching(/NodeStageVolume of volume v1 on node worker-1 was ended: this node may not use the volume any more/),
  });
  await lostVolumes.check(signal);
  await lostVolumes.check(signal);
  expect(node.driver.flushed).toStrictEqual([]);
  (node.volumes.items.get('v1') as AoEVolume).spec.initiators = { nodes: ['worker-2'] };
  await lostVolumes.check(signal);
  await lostVolumes.check(signal);
  await staging;
  await lostVolumes.check(signal);
  expect(node.driver.flushed).toStrictEqual(['e7.3']);
  expect(await node.deps.staged.get('v1')).toBeUndefined();
});

const READ_ONLY = { type: 'tmpfs', source: 'aoe-csi-no-volume', superOptions: ['ro'] };

for (const [what, version] of [
  ['now', 'this'],
  ['by an earlier version of the program', 'an earlier'],
] as const) {
  test(`a container that is started again after the node lost its volume, which was published ${what}, cannot write to the node's own disk`, async () => {
    const node = new FakeNode();
    const service = nodeService(node.deps, { segment: 's' });
    const targetPath = join(node.directory, 'pods/u/volumes/kubernetes.io~csi/v1/mount');
    const request = {
      volumeId: 'v1',
      targetPath,
      stagingTargetPath: '/staging/v1',
      volumeCapability: { mount: { fsType: 'ext4' }, accessMode: { mode: 1 } },
      publishContext: { address: 'e7.3', serial: 'S1', volumeUID: 'uid-1', access: 'Exclusive', external: 'false' },
    };
    await service.nodeStageVolume(request, context);
    await service.nodePublishVolume(request, context);
    const { mounter } = node;
    if (version === 'an earlier') mounter.mounts = mounter.mounts.filter(({ type }) => type !== 'tmpfs');
    mounter.calls.length = 0;
    (node.volumes.items.get('v1') as AoEVolume).spec.initiators = {};
    const lostVolumes = new LostVolumes(node.deps, { macs: async () => [MAC], emit: () => {} });
    for (let i = 0; i < 2; i++) await lostVolumes.check(signal);
    expect(node.driver.flushed).toStrictEqual(['e7.3']);
    expect(mounter.mounts).toMatchObject([{ ...READ_ONLY, target: targetPath }]);
    if (version === 'this') expect(mounter.calls.every((call) => call.startsWith('umount'))).toBe(true);
    await expect(service.nodeGetVolumeStats({ volumeId: 'v1', volumePath: targetPath }, context)).rejects.toThrow(/not published/);
    // The volume is the node's again, and the kubelet publishes it again at the same path.
    (node.volumes.items.get('v1') as AoEVolume).spec.initiators = { nodes: ['worker-1'] };
    delete node.target.holder;
    await service.nodePublishVolume(request, context);
    expect(mounter.mounts.filter(({ target }) => target === targetPath)).toMatchObject([READ_ONLY, { type: 'ext4' }]);
    await service.nodeUnpublishVolume({ volumeId: 'v1', targetPath }, context);
    expect(mounter.mounts.map(({ target }) => target)).toStrictEqual(['/staging/v1']);
    expect(existsSync(targetPath)).toBe(false);
  });
}
