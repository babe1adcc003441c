import { AOE_SNAPSHOTS, AOE_VOLUMES, type ResourceType } from '../../../api/resources.ts';
import type { Kube, KubeObject } from '../../../kube/mod.ts';

type Spec = Record<string, unknown>;

const VOLUME: Spec = { capacity: '1Gi', pool: 'default' };
const EXTERNAL: Spec = { external: { shelf: 1, slot: 2 } };
const SNAPSHOT: Spec = { volumeName: 'v' };
const RESTORED: Spec = { ...VOLUME, source: { snapshot: 's' } };

/** Tests of the CRDs of snapshots on a real API server. */
export function snapshotCrds(kube: () => Kube): void {
  let count = 0;
  const create = (type: ResourceType, spec: Spec) => kube().create<KubeObject>(type, { metadata: { name: `x${++count}` }, spec } as never);
  const refusal = (message: RegExp) => ({ code: 422, message: expect.stringMatching(message) });

  for (const [what, type, spec] of [
    ['a snapshot', AOE_SNAPSHOTS, SNAPSHOT],
    ['a snapshot of one volume alone', AOE_SNAPSHOTS, { ...SNAPSHOT, volumeUID: 'u', deletionPolicy: 'Retain' }],
    ['a snapshot of a frozen file system', AOE_SNAPSHOTS, { ...SNAPSHOT, freeze: true }],
    ['a volume of a snapshot', AOE_VOLUMES, RESTORED],
  ] as const) {
    test(`${what} is accepted`, async () => expect((await create(type, spec)).metadata.uid).toBeTruthy());
  }

  for (const [what, type, spec, message] of [
    ['a snapshot of nothing', AOE_SNAPSHOTS, {}, /spec\.volumeName.*Required/],
    [
      'a member of a group whose file system is frozen',
      AOE_SNAPSHOTS,
      { ...SNAPSHOT, group: { name: 'g', uid: 'u' }, freeze: true },
      /freeze does not apply/,
    ],
    ['an external target with a source', AOE_VOLUMES, { ...EXTERNAL, source: { snapshot: 's' } }, /source does not apply/],
  ] as const) {
    test(`${what} is refused`, async () => await expect(create(type, spec)).rejects.toMatchObject(refusal(message)));
  }

  for (const [what, type, spec, next, message] of [
    ['the source of a volume', AOE_VOLUMES, RESTORED, { source: { snapshot: 't' } }, /source cannot be changed/],
    ['that a volume has no source', AOE_VOLUMES, VOLUME, { source: { snapshot: 's' } }, /source cannot be changed/],
    ['the volume of a snapshot', AOE_SNAPSHOTS, SNAPSHOT, { volumeName: 'w' }, /volumeName.*cannot be changed/],
    ['the UID in a snapshot', AOE_SNAPSHOTS, SNAPSHOT, { volumeUID: 'u' }, /volumeUID cannot be changed/],
    ['that a file system is frozen', AOE_SNAPSHOTS, { ...SNAPSHOT, freeze: true }, { freeze: false }, /freeze.*cannot be changed/],
    ['that no file system is frozen', AOE_SNAPSHOTS, SNAPSHOT, { freeze: true }, /freeze cannot be changed/],
    ["what becomes of a snapshot's data", AOE_SNAPSHOTS, SNAPSHOT, { deletionPolicy: 'Retain' }, undefined],
  ] as const) {
    test(`${what} ${message ? 'cannot' : 'can'} be changed`, async () => {
      const { metadata } = await create(type, spec);
      const attempt = kube().patch(type, metadata.name, { spec: next });
      if (message) await expect(attempt).rejects.toMatchObject(refusal(message));
      else await attempt;
    });
  }
}
