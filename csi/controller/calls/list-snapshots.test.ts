import { Code } from '../../../rpc/status.ts';
import { controllerService } from '../service.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps } from '../testing/fake-deps.ts';

function world() {
  const { api, deps } = fakeDeps();
  for (const [name, volumeName, createdAt] of [
    ['s1', 'v', '2026-11-28T08:00:00Z'],
    ['s2', 'w', '2026-11-28T08:00:01Z'],
    ['s3', 'v', '2026-11-28T08:00:02Z'],
    ['new', 'v', undefined],
  ]) {
    api.put({
      kind: 'AoESnapshot',
      metadata: { name },
      spec: { volumeName },
      status: { createdAt, phase: 'Ready', capacity: '1Mi' },
    } as never);
  }
  const service = controllerService(deps);
  const list = async (request: object = {}) => {
    const { entries, nextToken } = await service.listSnapshots(request as never, call());
    return [(entries ?? []).map(({ snapshot }) => snapshot?.snapshotId), nextToken];
  };
  return { api, service, list };
}

test('snapshots that were taken are listed in pages, by volume, or one alone', async () => {
  const { list } = world();
  expect(await list()).toStrictEqual([['s1', 's2', 's3'], '']);
  expect(await list({ maxEntries: 2 })).toStrictEqual([['s1', 's2'], 'after/s2']);
  expect(await list({ maxEntries: 2, startingToken: 'after/s2' })).toStrictEqual([['s3'], '']);
  expect(await list({ sourceVolumeId: 'v' })).toStrictEqual([['s1', 's3'], '']);
  expect(await list({ snapshotId: 's2' })).toStrictEqual([['s2'], '']);
  expect(await list({ snapshotId: 'none' })).toStrictEqual([[], '']);
  await expect(list({ startingToken: 'x' })).rejects.toMatchObject({ code: Code.ABORTED });
});

test('one snapshot is told, or not found', async () => {
  const { service } = world();
  expect((await service.getSnapshot({ snapshotId: 's1' } as never, call())).snapshot).toMatchObject({ snapshotId: 's1', readyToUse: true });
  await expect(service.getSnapshot({ snapshotId: 'none' } as never, call())).rejects.toMatchObject({ code: Code.NOT_FOUND });
});

test('a snapshot that is not taken yet, a member of a group that is not committed, and the source of a clone are not found', async () => {
  const { api, service, list } = world();
  const status = { createdAt: '2026-11-28T08:00:00Z', phase: 'Ready', capacity: '1Mi' };
  const put = (name: string, spec: object, annotations = {}) =>
    api.put({ kind: 'AoESnapshot', metadata: { name, annotations }, spec: { volumeName: 'v', ...spec }, status } as never);
  put('member', { group: { name: 'g', uid: 'u' } });
  put('source', {}, { 'aoe.dev/clone-for': 'w' });
  for (const snapshotId of ['new', 'member', 'source']) {
    await expect(service.getSnapshot({ snapshotId } as never, call())).rejects.toMatchObject({ code: Code.NOT_FOUND });
    expect(await list({ snapshotId })).toStrictEqual([[], '']);
  }
});
