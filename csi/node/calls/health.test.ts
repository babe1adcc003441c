import { csi } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { nodeService } from '../service.ts';
import { block, context, fails, setUp } from '../testing/calls.ts';

const { INACCESSIBLE } = csi.v1.VolumeHealthErrorType;
const { STORAGE_DEGRADED, STORAGE_UNREACHABLE } = csi.v1.StorageHealthErrorType;

async function staged(capability?: csi.v1.IVolumeCapability) {
  const it = setUp();
  await it.stage(capability);
  const health = async () => {
    const { volumeHealth } = await it.service.nodeGetVolumeHealth({ volumeId: 'v1' }, context);
    return volumeHealth?.healthStatuses?.map(({ status, reason }) => [status, reason]);
  };
  return { ...it, health };
}

test('a volume that works has no problem; one that is not here is NOT_FOUND', async () => {
  for (const capability of [undefined, block]) {
    const { health, service } = await staged(capability);
    expect(await health()).toStrictEqual([]);
    await expect(service.nodeGetVolumeHealth({ volumeId: 'v2' }, context)).rejects.toSatisfy(
      fails(Code.NOT_FOUND, /v2 is not staged on node/),
    );
  }
});

test('a disk that the kernel has given up cannot be used here', async () => {
  const { health, disk } = await staged();
  Object.assign(disk(), { state: 'closewait' });
  expect(await health()).toStrictEqual([[INACCESSIBLE, 'DiskDown']]);
});

test('a file system that the kernel has made read-only after errors cannot be used here', async () => {
  const { health, node } = await staged();
  node.mounter.mounts = node.mounter.mounts.map((each) => ({ ...each, superOptions: ['ro'] }));
  expect(await health()).toStrictEqual([[INACCESSIBLE, 'FilesystemFailed']]);
});

test('a target that does not answer is told apart from a lock that another host has', async () => {
  const { health, node } = await staged();
  Object.assign(node.target, { holder: { ...node.target.holder, node: 'other' } });
  expect(await health()).toStrictEqual([[INACCESSIBLE, 'NotTheHolder']]);
  node.wire.configs = async () => [];
  expect(await health()).toStrictEqual([[INACCESSIBLE, 'TargetSilent']]);
});

test('the storage of a node is as its driver and interfaces are', async () => {
  const { node } = setUp();
  const ask = async (status: 'True' | 'False', reason: string) => {
    const storage = () => ({ type: 'InitiatorReady', status, reason, message: 'why' }) as const;
    const { backendHealth } = await nodeService(node.deps, { segment: 's', storage }).nodeGetStorageHealth({}, context);
    return backendHealth?.map((each) => [each.status, each.reason]);
  };
  expect(await ask('True', 'DriverLoaded')).toStrictEqual([]);
  expect(await ask('True', 'InterfaceMissing')).toStrictEqual([[STORAGE_DEGRADED, 'InterfaceMissing']]);
  expect(await ask('False', 'NoDriver')).toStrictEqual([[STORAGE_UNREACHABLE, 'NoDriver']]);
  expect((await nodeService(node.deps, { segment: 's' }).nodeGetStorageHealth({}, context)).backendHealth).toStrictEqual([]);
});
