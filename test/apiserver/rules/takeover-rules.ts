import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolumeSpec } from '../../../api/volume.ts';
import type { Kube, KubeObject } from '../../../kube/mod.ts';

const VOLUME = { pool: 'p', capacity: '1Gi' };
const EXTERNAL = { external: { shelf: 1, slot: 1 } };
const ONLY_EXCLUSIVE = /takeoverAfter is not for external targets, and a time only for volumes with access Exclusive/;
let count = 0;

/** Tests of spec.takeoverAfter of an AoEVolume on a real API server. */
export function takeoverRules(kube: () => Kube): void {
  const create = (spec: object) =>
    kube().create<KubeObject & { spec: AoEVolumeSpec }>(AOE_VOLUMES, { metadata: { name: `takeover-${++count}` }, spec } as never);

  it('is a time or Never, and can be changed and removed', async () => {
    for (const takeoverAfter of ['20s', '9999s', 'Never']) {
      const { metadata, spec } = await create({ ...VOLUME, takeoverAfter, nodeName: 'n1', address: { shelf: 7, slot: count } });
      expect(spec.takeoverAfter).toBe(takeoverAfter);
      for (const next of ['30s', 'Never', null]) await kube().patch(AOE_VOLUMES, metadata.name, { spec: { takeoverAfter: next } });
    }
  });

  for (const takeoverAfter of ['', '30', '19s', '1m', '10000s', 'never', '30s\n'])
    it(`is not ${JSON.stringify(takeoverAfter)}`, () =>
      expect(create({ ...VOLUME, takeoverAfter })).rejects.toThrow(/spec\.takeoverAfter.*must be whole seconds, from 20s to 9999s/));

  for (const access of ['Shared', 'ReadOnlyMany'])
    it(`is no time with ${access}, but may be Never`, async () => {
      await expect(create({ ...VOLUME, access, takeoverAfter: '30s' })).rejects.toThrow(ONLY_EXCLUSIVE);
      await create({ ...VOLUME, access, takeoverAfter: 'Never' });
      const never = await create({ ...VOLUME, takeoverAfter: 'Never' });
      await kube().patch(AOE_VOLUMES, never.metadata.name, { spec: { access } });
      const { metadata } = await create({ ...VOLUME, takeoverAfter: '30s' });
      await expect(kube().patch(AOE_VOLUMES, metadata.name, { spec: { access } })).rejects.toThrow(ONLY_EXCLUSIVE);
      await kube().patch(AOE_VOLUMES, metadata.name, { spec: { access, takeoverAfter: null } });
    });

  it('is not for external targets', async () => {
    for (const takeoverAfter of ['30s', 'Never']) await expect(create({ ...EXTERNAL, takeoverAfter })).rejects.toThrow(ONLY_EXCLUSIVE);
  });
}
