import { API_VERSION } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { type Kube, KubeError } from '../../../kube/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { KubeVolumeClient } from './volume-client.ts';

const signal = new AbortController().signal;
const volume: AoEVolume = {
  apiVersion: API_VERSION,
  kind: 'AoEVolume',
  metadata: { name: 'v', uid: 'u', resourceVersion: '1' },
  spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete' },
};
const clientOf = (kube: object) => new KubeVolumeClient(kube as Kube);
const fail = (code: number) => async () => {
  throw new KubeError(code, 'Reason', 'message of the API server');
};

for (const [status, code] of [
  [500, Code.UNAVAILABLE],
  [429, Code.UNAVAILABLE],
  [403, Code.INTERNAL],
] as const) {
  test(`an answer ${status} of the API server names the volume, and has the gRPC code ${code}`, async () => {
    await expect(clientOf({ get: fail(status) }).get('v', signal)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/AoEVolume v cannot be read: .*message of the API server/),
    });
  });
}

test('record() writes only the given fields, based on the version that was read', async () => {
  const patches: unknown[] = [];
  const patch = async (_type: unknown, _name: string, body: unknown) => {
    patches.push(body);
    return volume;
  };
  await clientOf({ patch }).record(volume, { serial: 'S1' }, signal);
  expect(patches).toStrictEqual([{ metadata: { resourceVersion: '1' }, status: { serial: 'S1' } }]);
});

for (const [what, now, isStillValid] of [
  ['was deleted and created again', { ...volume, metadata: { ...volume.metadata, uid: 'other' } }, undefined],
  ['is not valid any more', volume, () => false],
] as const) {
  test(`record() writes nothing about a volume that ${what}`, async () => {
    const client = clientOf({ patch: fail(409), get: async () => now });
    await expect(client.record(volume, {}, signal, isStillValid)).rejects.toMatchObject({ code: Code.ABORTED });
  });
}
