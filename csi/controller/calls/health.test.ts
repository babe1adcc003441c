import { csi } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, putVolume } from '../testing/fake-deps.ts';
import { getVolumeHealth, listVolumeHealth } from './health.ts';

const { DEGRADED, INACCESSIBLE, DATA_LOSS } = csi.v1.VolumeHealthErrorType;
const condition = (type: string, status: string, reason: string, message = 'why') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: '',
});
const READY = [condition('Ready', 'True', 'Exported')];

function world(conditions: object[] = READY, { spec = {}, status = {}, node = {} } = {}) {
  const { api, deps } = fakeDeps();
  api.put({
    kind: 'AoEPool',
    metadata: { name: 'default' },
    spec: { backend: 'lvm-thin' },
    status: { nodes: [{ name: 's1', ready: true, ...node }] },
  } as never);
  putVolume(api, 'v', { pool: 'default', nodeName: 's1', ...spec }, { capacity: '1Gi', conditions, ...status } as never);
  const health = async () => {
    const { volumeHealth } = await getVolumeHealth(deps, { volumeId: 'v' }, call());
    return volumeHealth.healthStatuses?.map(({ status: type, reason }) => [type, reason]);
  };
  return { api, deps, health };
}

test('a volume that is ready has no problem, and so has one that was never made', async () => {
  expect(await world().health()).toStrictEqual([]);
  expect(await world([condition('Ready', 'False', 'NoPool')], { status: { capacity: undefined } }).health()).toStrictEqual([]);
});

test('a volume that was ready and is not cannot be used, for the reason of its condition', async () => {
  expect(await world([condition('Ready', 'Unknown', 'StorageNodeNotReady')]).health()).toStrictEqual([
    [INACCESSIBLE, 'StorageNodeNotReady'],
  ]);
});

test('data that is gone is said to be lost', async () => {
  const conditions = [condition('Ready', 'False', 'BackingLost'), condition('Provisioned', 'False', 'BackingLost')];
  expect(await world(conditions).health()).toStrictEqual([[DATA_LOSS, 'BackingLost']]);
});

test('a volume that one of its hosts cannot use, or whose thin pool is nearly full, works with a restriction', async () => {
  const partly = [...READY, condition('Exported', 'True', 'InitiatorsMissing')];
  expect(await world(partly).health()).toStrictEqual([[DEGRADED, 'InitiatorsMissing']]);
  expect(await world(READY, { node: { dataPercent: '41.00', metadataPercent: '90.10' } }).health()).toStrictEqual([
    [DEGRADED, 'PoolNearlyFull'],
  ]);
  expect(await world(READY, { node: { dataPercent: '89.99', metadataPercent: '2.00' } }).health()).toStrictEqual([]);
});

test('the list has the volumes with problems only, in pages', () => {
  const { api, deps } = world();
  for (const name of ['c', 'a', 'b'])
    putVolume(api, name, {}, { capacity: '1Gi', conditions: [condition('Ready', 'False', 'X')] } as never);
  const first = listVolumeHealth(deps, { maxEntries: 2 });
  expect(first.entries.map(({ volumeId }) => volumeId)).toStrictEqual(['a', 'b']);
  const rest = listVolumeHealth(deps, { startingToken: first.nextToken });
  expect(rest.entries.map(({ volumeId }) => volumeId)).toStrictEqual(['c']);
  expect(rest.nextToken).toBe('');
});

test('a volume that is not there is NOT_FOUND', async () => {
  const { deps } = world();
  await expect(getVolumeHealth(deps, { volumeId: 'x' }, call())).rejects.toMatchObject({ code: Code.NOT_FOUND });
  await expect(getVolumeHealth(deps, {}, call())).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});
