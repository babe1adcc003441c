import { Code } from '../../../rpc/status.ts';
import { controllerService } from '../service.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, lateWatch } from '../testing/fake-deps.ts';

const put = (api: ReturnType<typeof fakeDeps>['api'], finalizers: string[] = []) =>
  api.put({ kind: 'AoESnapshot', metadata: { name: 's', finalizers }, spec: { volumeName: 'v' }, status: { nodeName: 'a' } } as never);

test('a snapshot is deleted, and one that is not there is no error', async () => {
  const { api, deps } = fakeDeps();
  const service = controllerService(deps);
  put(api);
  for (const snapshotId of ['s', 's', 'No such name!']) {
    expect(await service.deleteSnapshot({ snapshotId } as never, call())).toStrictEqual({});
  }
  expect(api.all('AoESnapshot')).toHaveLength(0);
  await expect(service.deleteSnapshot({ snapshotId: '' } as never, call())).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});

test('a deletion that the agent has not finished is tried again', async () => {
  const { api, deps } = fakeDeps();
  put(api, ['aoe.dev/backing-snapshot']);
  const waits = controllerService(deps).deleteSnapshot({ snapshotId: 's' } as never, call());
  await expect(waits).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED, message: expect.stringMatching(/agent on a/) });
});

test('a snapshot that the agent has not removed is not gone because the watch has not shown it', async () => {
  const { api, deps } = fakeDeps();
  put(api, ['aoe.dev/backing-snapshot']);
  const waits = controllerService({ ...deps, snapshots: lateWatch }).deleteSnapshot({ snapshotId: 's' } as never, call());
  await expect(waits).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
});

test('a member of a group is not deleted alone because the watch has not shown the group', async () => {
  const { api, deps } = fakeDeps();
  api.put({ kind: 'AoESnapshotGroup', metadata: { name: 'g', uid: 'u' }, spec: { members: [] } } as never);
  api.put({ kind: 'AoESnapshot', metadata: { name: 's' }, spec: { volumeName: 'v', group: { name: 'g', uid: 'u' } } } as never);
  const service = controllerService({ ...deps, groups: lateWatch });
  await expect(service.deleteSnapshot({ snapshotId: 's' } as never, call())).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  expect(api.all('AoESnapshot')).toHaveLength(1);
});
