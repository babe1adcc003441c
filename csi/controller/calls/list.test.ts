import { type csi, fromInt64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, putVolume } from '../testing/fake-deps.ts';
import { getVolume, listVolumes } from './list.ts';

function world(...names: string[]) {
  const { api, deps } = fakeDeps();
  for (const name of names) putVolume(api, name);
  const page = (request: csi.v1.IListVolumesRequest) => {
    const { entries, nextToken } = listVolumes(deps, request);
    return [entries.map(({ volume }) => volume.volumeId).join(' '), nextToken];
  };
  return { api, deps, page };
}

test('volumes come in the order of their names, in pages that go on after the last name', () => {
  const { page, api } = world('c', 'a', 'e', 'b', 'd');
  expect(page({})).toStrictEqual(['a b c d e', '']);
  expect(page({ maxEntries: 2 })).toStrictEqual(['a b', 'after/b']);
  api.remove({ kind: 'AoEVolume' }, 'b');
  api.remove({ kind: 'AoEVolume' }, 'c');
  expect(page({ maxEntries: 2, startingToken: 'after/b' })).toStrictEqual(['d e', '']);
  expect(page({ maxEntries: 5, startingToken: 'after/e' })).toStrictEqual(['', '']);
  expect(world().page({ maxEntries: 1 })).toStrictEqual(['', '']);
});

for (const [what, request, code] of [
  ['a negative number of entries', { maxEntries: -1 }, Code.INVALID_ARGUMENT],
  ['a token of somebody else', { startingToken: '7' }, Code.ABORTED],
  ['a token without a name', { startingToken: 'after/' }, Code.ABORTED],
  ['a token with what no name can be', { startingToken: 'after/A B' }, Code.ABORTED],
] as const) {
  test(`refused: ${what}`, () => expect(() => world('a').page(request)).toThrow(expect.objectContaining({ code })));
}

test('a volume comes with its size, its nodes and its state, and is NOT_FOUND when there is none', async () => {
  const { deps, api } = world();
  const message = 'the disk is broken';
  putVolume(
    api,
    'v',
    { initiators: { nodes: ['w1'] }, capacity: '1Gi' },
    { capacity: '2Gi', phase: 'Failed', conditions: [{ type: 'Ready', status: 'False', reason: 'X', message, lastTransitionTime: '' }] },
  );
  const { volume, status } = await getVolume(deps, { volumeId: 'v' }, call());
  expect([volume.volumeId, fromInt64(volume.capacityBytes)]).toStrictEqual(['v', 2 * 1024 ** 3]);
  expect(status).toStrictEqual({ publishedNodeIds: ['w1'], volumeCondition: { abnormal: true, message } });
  for (const volumeId of ['x', 'No Name'])
    await expect(getVolume(deps, { volumeId }, call())).rejects.toMatchObject({ code: Code.NOT_FOUND });
  await expect(getVolume(deps, {}, call())).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});
