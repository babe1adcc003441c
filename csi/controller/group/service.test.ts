import { AOE_SNAPSHOT_GROUPS } from '../../../api/resources.ts';
import type { AoESnapshotGroup, GroupStage } from '../../../api/snapshot-group.ts';
import { type csi, fromInt64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { controllerService } from '../service.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, lateWatch, putVolume } from '../testing/fake-deps.ts';
import { groupControllerService } from './service.ts';

const AT = '2026-11-28T08:00:00.250Z';

/** Operator and agents, which bring each group to this stage. */
function world({
  stage = 'Committed',
  reason = 'Committed',
  isUsable = true,
}: {
  stage?: GroupStage;
  reason?: string;
  isUsable?: boolean;
} = {}) {
  const { api, deps } = fakeDeps({
    onGroup: (server, group) => {
      if (group.status) return;
      const members = group.spec.members.map(({ volumeName }, index) => ({
        name: `g-${index}`,
        volumeName,
        volumeUID: 'u',
        nodeName: 'a',
      }));
      const conditions = [{ type: 'Ready', status: 'False' as const, reason, message: `because of ${reason}`, lastTransitionTime: '' }];
      server.put({ ...group, status: { stage, members, conditions, ...(stage === 'Committed' ? { createdAt: AT } : {}) } });
      if (stage !== 'Committed') return;
      for (const { name, volumeName } of members) {
        const spec = { volumeName, group: { name: group.metadata.name, uid: group.metadata.uid ?? '' } };
        const status = { phase: isUsable ? 'Ready' : 'Pending', capacity: '1Gi', createdAt: AT, committed: true };
        server.put({ kind: 'AoESnapshot', metadata: { name }, spec, status } as never);
      }
    },
  });
  for (const volume of ['v', 'w']) putVolume(api, volume);
  const service = groupControllerService(deps);
  return {
    api,
    service,
    /** The same, with watches that have shown nothing yet. */
    late: groupControllerService({ ...deps, groups: lateWatch, snapshots: lateWatch }),
    snapshots: controllerService(deps),
    create: (fields: csi.v1.ICreateVolumeGroupSnapshotRequest = {}) =>
      service.createVolumeGroupSnapshot({ name: 'g', sourceVolumeIds: ['v', 'w'], ...fields } as never, call()),
    stored: () => api.read<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, 'g'),
  };
}

test("a class may repeat its deletionPolicy among its parameters, as that of Kubernetes' storage suite does", async () => {
  const { groupSnapshot } = await world().create({ parameters: { deletionPolicy: 'Delete' } });
  expect(groupSnapshot).toMatchObject({ readyToUse: true });
});

test('a group is created once, of exactly these volumes, and is told with all its members', async () => {
  const { create, stored, service } = world();
  for (const sourceVolumeIds of [
    ['v', 'w'],
    ['w', 'v'],
  ]) {
    const { groupSnapshot } = await create({ sourceVolumeIds });
    expect(groupSnapshot).toMatchObject({ groupSnapshotId: 'g', readyToUse: true });
    expect(fromInt64(groupSnapshot?.creationTime?.seconds)).toBe(1795852800);
    expect(groupSnapshot?.snapshots).toMatchObject([
      { snapshotId: 'g-0', sourceVolumeId: 'v', groupSnapshotId: 'g', readyToUse: true },
      { snapshotId: 'g-1', sourceVolumeId: 'w', groupSnapshotId: 'g', readyToUse: true },
    ]);
  }
  expect(stored()?.spec.members).toStrictEqual([
    { volumeName: 'v', volumeUID: expect.any(String) },
    { volumeName: 'w', volumeUID: expect.any(String) },
  ]);
  const told = await service.getVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: ['g-1', 'g-0'] } as never, call());
  expect(told.groupSnapshot?.snapshots).toHaveLength(2);
});

test('a group whose members cannot be used yet says so', async () => {
  const { groupSnapshot } = await world({ isUsable: false }).create();
  expect(groupSnapshot).toMatchObject({ readyToUse: false });
});

for (const [what, fields, code, message] of [
  ['without a name', { name: '' }, Code.INVALID_ARGUMENT, /name/],
  ['without volumes', { sourceVolumeIds: [] }, Code.INVALID_ARGUMENT, /source_volume_ids/],
  ['of one volume twice', { sourceVolumeIds: ['v', 'v'] }, Code.INVALID_ARGUMENT, /twice/],
  ['with a parameter', { parameters: { x: 'y' } }, Code.INVALID_ARGUMENT, /parameter x/],
  ['of a volume that does not exist', { sourceVolumeIds: ['v', 'none'] }, Code.NOT_FOUND, /none/],
] as const) {
  test(`a group ${what} is refused, and nothing is made`, async () => {
    const { create, stored } = world();
    await expect(create(fields as never)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(stored()).toBeUndefined();
  });
}

test('a group of that name with other volumes is refused', async () => {
  const { create } = world();
  await create();
  await expect(create({ sourceVolumeIds: ['v'] })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
});

for (const [reason, code] of [
  ['PoolFull', Code.RESOURCE_EXHAUSTED],
  ['SnapshotsUnsupported', Code.FAILED_PRECONDITION],
  ['VolumeNotFound', Code.NOT_FOUND],
  ['NotHeld', Code.UNAVAILABLE],
] as const) {
  test(`a group that failed (${reason}) is deleted, so that the next call is a new attempt`, async () => {
    const { create, stored } = world({ stage: 'Failed', reason });
    await expect(create()).rejects.toMatchObject({ code, message: `AoESnapshotGroup g: because of ${reason}` });
    expect(stored()).toBeUndefined();
  });
}

test('a group that a person made is not deleted because it failed', async () => {
  const { create, stored, api } = world({ stage: 'Failed', reason: 'PoolFull' });
  const members = [{ volumeName: 'v' }, { volumeName: 'w' }];
  api.put({ kind: 'AoESnapshotGroup', metadata: { name: 'g' }, spec: { members } } as never);
  await expect(create()).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  expect(stored()).toBeDefined();
});

test('a group that is not committed in time is tried again, and is not a group snapshot for anybody', async () => {
  const { create, service, stored } = world({ stage: 'Holding', reason: 'Holding' });
  await expect(create()).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  expect(stored()).toBeDefined();
  const get = service.getVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: [] } as never, call());
  await expect(get).rejects.toMatchObject({ code: Code.NOT_FOUND, message: expect.stringMatching(/not committed/) });
});

test('a group is deleted as a whole; a member alone, or with other members, is not', async () => {
  const { create, service, snapshots, stored } = world();
  await create();
  const remove = (snapshotIds: string[]) => service.deleteVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds } as never, call());
  await expect(remove(['g-0'])).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  await expect(snapshots.deleteSnapshot({ snapshotId: 'g-0' } as never, call())).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringMatching(/DeleteVolumeGroupSnapshot/),
  });
  await remove(['g-0', 'g-1']);
  expect(stored()).toBeUndefined();
  expect(await remove(['g-0', 'g-1'])).toStrictEqual({});
  const get = service.getVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: [] } as never, call());
  await expect(get).rejects.toMatchObject({ code: Code.NOT_FOUND });
});

test('a group and its members are told although the watch has not shown the members', async () => {
  const { create, late } = world();
  await create();
  const told = await late.getVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: ['g-1', 'g-0'] } as never, call());
  expect(told.groupSnapshot?.snapshots).toMatchObject([{ snapshotId: 'g-0' }, { snapshotId: 'g-1' }]);
});

test('a group that lacks a member is not told', async () => {
  const { api, create, service } = world();
  await create();
  api.remove({ kind: 'AoESnapshot' }, 'g-1');
  const get = service.getVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: [] } as never, call());
  await expect(get).rejects.toMatchObject({ code: Code.NOT_FOUND, message: expect.stringMatching(/lacks a member/) });
});

test('a group that still has members is not gone because the watch has not shown it', async () => {
  const { api, create, late, stored } = world();
  await create();
  api.put({ ...stored(), metadata: { ...stored()?.metadata, finalizers: ['aoe.dev/members'] } } as never);
  const waits = late.deleteVolumeGroupSnapshot({ groupSnapshotId: 'g', snapshotIds: [] } as never, call());
  await expect(waits).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
});
