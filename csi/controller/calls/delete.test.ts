import { API_VERSION } from '../../../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../../api/volume.ts';
import { FakeApi } from '../../../kube/testing/fake-api.ts';
import { Code } from '../../../rpc/status.ts';
import { BusyVolumes } from '../../busy-volumes.ts';
import type { Deps } from '../deps.ts';
import { call } from '../testing/fake-cluster.ts';
import { fakeDeps, lateWatch, putVolume } from '../testing/fake-deps.ts';
import { deleteVolume } from './delete.ts';

/** An API server with AoEVolume `v`, and an agent that removes it once it is deleted. */
function cluster(annotations: Record<string, string> = {}) {
  const api = new FakeApi();
  const spec = { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', nodeName: 'storage' };
  const metadata = { name: 'v', uid: 'u', finalizers: [VOLUME_FINALIZER], annotations };
  api.put({ apiVersion: API_VERSION, kind: 'AoEVolume', metadata, spec } as AoEVolume);
  /** What the agent saw of each deleted volume. */
  const deleted: AoEVolume[] = [];
  const deps = {
    kube: api,
    volumes: {
      waitFor: async (name: string) => {
        deleted.push(api.read<AoEVolume>({ kind: 'AoEVolume' }, name) as AoEVolume);
        api.remove({ kind: 'AoEVolume' }, name);
      },
    },
    busy: new BusyVolumes(),
  } as unknown as Deps;
  return { api, deleted, run: () => deleteVolume(deps, { volumeId: 'v' }, call()) };
}

test('the data is asked for to be removed, by the UID of the AoEVolume, before that is deleted', async () => {
  const it = cluster({ 'aoe.dev/delete-data': 'another', mine: 'x' });
  expect(await it.run()).toStrictEqual({});
  expect(it.deleted).toHaveLength(1);
  expect(it.deleted[0]?.metadata.annotations).toStrictEqual({ 'aoe.dev/delete-data': 'u', mine: 'x' });
  expect(it.deleted[0]?.metadata.deletionTimestamp).toBeDefined();
});

test('a repeated call asks once', async () => {
  const it = cluster({ 'aoe.dev/delete-data': 'u' });
  await it.run();
  expect(it.api.patches).toBe(0);
  expect(it.deleted).toHaveLength(1);
});

test('a volume that could not be marked is not deleted', async () => {
  const it = cluster();
  it.api.failNext('patch', new Error('no API server'));
  await expect(it.run()).rejects.toThrow('no API server');
  expect(it.api.read({ kind: 'AoEVolume' }, 'v')?.metadata.deletionTimestamp).toBeUndefined();
});

test('a volume that the agent has not removed is not gone because the watch has not shown it', async () => {
  const { api, deps } = fakeDeps();
  putVolume(api, 'v');
  await expect(deleteVolume({ ...deps, volumes: lateWatch }, { volumeId: 'v' }, call())).rejects.toMatchObject({
    code: Code.DEADLINE_EXCEEDED,
  });
});
