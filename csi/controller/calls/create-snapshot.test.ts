import { SEGMENT_KEY } from '../../../api/meta.ts';
import { AOE_SNAPSHOTS } from '../../../api/resources.ts';
import type { AoESnapshot, AoESnapshotStatus } from '../../../api/snapshot.ts';
import { type csi, fromInt64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { controllerService } from '../service.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, putVolume } from '../testing/fake-deps.ts';

const condition = (status: 'True' | 'False' | 'Unknown', reason: string): NonNullable<AoESnapshotStatus['conditions']>[number] => ({
  type: 'Ready',
  status,
  reason,
  message: `because of ${reason}`,
  lastTransitionTime: '',
});
const TAKEN: AoESnapshotStatus = {
  phase: 'Ready',
  nodeName: 'a',
  pool: 'default',
  capacity: '1Gi',
  createdAt: '2026-11-28T08:00:00.250Z',
  conditions: [condition('True', 'Taken')],
};

function world(snapshotStatus: AoESnapshotStatus | undefined = TAKEN) {
  const { api, deps } = fakeDeps({ snapshotStatus });
  putVolume(api, 'v');
  const service = controllerService(deps);
  return {
    api,
    service,
    create: (fields: csi.v1.ICreateSnapshotRequest = {}) =>
      service.createSnapshot({ name: 's', sourceVolumeId: 'v', ...fields } as csi.v1.CreateSnapshotRequest, call()),
    stored: () => api.read<AoESnapshot>(AOE_SNAPSHOTS, 's'),
  };
}

test('a snapshot is created with the UID of its volume, and found again when the call is repeated, also when the volume is gone', async () => {
  const { create, stored, api } = world();
  for (const round of [1, 2]) {
    const { snapshot } = await create();
    expect(snapshot).toMatchObject({ snapshotId: 's', sourceVolumeId: 'v', readyToUse: true });
    expect(fromInt64(snapshot?.sizeBytes)).toBe(1024 ** 3);
    expect([fromInt64(snapshot?.creationTime?.seconds), snapshot?.creationTime?.nanos]).toStrictEqual([1795852800, 250_000_000]);
    if (round === 1) api.remove({ kind: 'AoEVolume' }, 'v');
  }
  expect(stored()?.spec).toMatchObject({ volumeName: 'v', deletionPolicy: 'Delete' });
  expect(stored()?.spec.volumeUID).toBeTruthy();
});

test('a snapshot tells the segment of its node, and is refused on another segment before anything is made', async () => {
  const { create, api, stored } = world();
  putVolume(api, 'v', { nodeName: 'a' });
  const on = (segment: string) => ({ accessibilityRequirements: { requisite: [{ segments: { [SEGMENT_KEY]: segment } }] } });
  await expect(create(on('s2'))).rejects.toMatchObject({
    code: Code.RESOURCE_EXHAUSTED,
    message: expect.stringMatching(/segment default.*s2/),
  });
  expect(stored()).toBeUndefined();
  const { snapshot } = await create(on('default'));
  expect(snapshot?.accessibleTopology).toStrictEqual([{ segments: { [SEGMENT_KEY]: 'default' } }]);
});

test('a snapshot whose instant is over is answered while its data is copied: not ready to use, and for a clone it is waited for', async () => {
  const copying = [condition('False', 'Copying'), { ...condition('False', 'Copying'), type: 'Taken' as const }];
  const { create, api, service } = world({ ...TAKEN, phase: 'Pending', conditions: copying });
  const { snapshot } = await create();
  expect(snapshot).toMatchObject({ snapshotId: 's', readyToUse: false });
  expect(fromInt64(snapshot?.sizeBytes)).toBe(1024 ** 3);
  expect(fromInt64(snapshot?.creationTime?.seconds)).toBe(1795852800);
  putVolume(api, 'w', {}, { capacity: '1Gi' });
  const source = { volume: { volumeId: 'w' } };
  const capability = { mount: {}, accessMode: { mode: 1 } };
  const clone = { name: 'c', volumeContentSource: source, volumeCapabilities: [capability], parameters: { pool: 'default' } };
  await expect(service.createVolume(clone as never, call())).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
});

test('what cannot be a snapshot is refused', async () => {
  const { create, api } = world();
  putVolume(api, 'outside', { external: { shelf: 1, slot: 1 } });
  for (const [fields, code] of [
    [{ name: '' }, Code.INVALID_ARGUMENT],
    [{ sourceVolumeId: '' }, Code.INVALID_ARGUMENT],
    [{ parameters: { speed: 'high' } }, Code.INVALID_ARGUMENT],
    [{ accessibilityRequirements: { requisite: [{ segments: { zone: 'a' } }] } }, Code.INVALID_ARGUMENT],
    [{ sourceVolumeId: 'nothing' }, Code.NOT_FOUND],
    [{ sourceVolumeId: 'outside' }, Code.FAILED_PRECONDITION],
  ] as [csi.v1.ICreateSnapshotRequest, Code][]) {
    await expect(create(fields)).rejects.toMatchObject({ code });
  }
  expect(api.all('AoESnapshot')).toHaveLength(0);
  await create({ parameters: { 'csi.storage.k8s.io/volumesnapshot/name': 'x' } });
  putVolume(api, 'w');
  await expect(create({ sourceVolumeId: 'w' })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
});

for (const [reason, phase, code, stays] of [
  ['SnapshotsUnsupported', 'Failed', Code.FAILED_PRECONDITION, false],
  ['PoolFull', 'Failed', Code.RESOURCE_EXHAUSTED, false],
  ['VolumeNotFound', 'Failed', Code.NOT_FOUND, false],
  ['StorageNodeGone', 'Failed', Code.UNAVAILABLE, true],
  ['NotHeld', 'Pending', Code.DEADLINE_EXCEEDED, true],
] as const) {
  test(`${reason} ends a call with code ${code}, and the AoESnapshot ${stays ? 'stays' : 'is deleted'}`, async () => {
    const { create, stored } = world({ phase, conditions: [condition('False', reason)] });
    await expect(create()).rejects.toMatchObject({ code, message: expect.stringMatching(`because of ${reason}`) });
    expect(stored() !== undefined).toBe(stays);
  });
}

test('while the storage node is away a snapshot is unavailable, and is not given up', async () => {
  const { create, stored } = world({ phase: 'Pending', conditions: [condition('Unknown', 'StorageNodeNotReady')] });
  await expect(create()).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  expect(stored()).toBeDefined();
});

test('a snapshot that a person made is not deleted because it cannot be taken', async () => {
  const { create, stored, api } = world({ phase: 'Failed', conditions: [condition('False', 'PoolFull')] });
  api.put({ kind: 'AoESnapshot', metadata: { name: 's' }, spec: { volumeName: 'v' } } as never);
  await expect(create()).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  expect(stored()).toBeDefined();
});

test('with the parameter freeze the file system is frozen meanwhile; a volume that cannot be frozen is refused', async () => {
  const { create, stored } = world();
  await create({ parameters: { freeze: 'true' } });
  expect(stored()?.spec.freeze).toBe(true);
  await create();

  const plain = world();
  await plain.create({ parameters: { freeze: 'false' } });
  expect(plain.stored()?.spec).not.toHaveProperty('freeze');
  await expect(plain.create({ parameters: { freeze: 'true' } })).rejects.toMatchObject({
    code: Code.ALREADY_EXISTS,
    message: expect.stringMatching('the file system is not frozen for it'),
  });

  const refused = world({ phase: 'Failed', conditions: [condition('False', 'FreezeUnsupported')] });
  await expect(refused.create({ parameters: { freeze: 'true' } })).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
  expect(refused.stored()).toBeUndefined();
});
