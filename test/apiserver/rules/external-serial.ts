import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { Kube } from '../../../kube/mod.ts';

/** Tests of serialChanges: that the serial number of an external target changes, as a real API server checks it. */
export function externalSerial(kube: () => Kube): void {
  let count = 0;
  const create = async (external: object): Promise<string> => {
    const spec = { external: { shelf: 1, slot: 2, ...external } };
    return (await kube().create<AoEVolume>(AOE_VOLUMES, { metadata: { name: `e${++count}` }, spec } as never)).metadata.name;
  };
  const change = (name: string, external: object) => kube().patch<AoEVolume>(AOE_VOLUMES, name, { spec: { external } });
  const refusal = (message: RegExp) => ({ code: 422, message: expect.stringMatching(message) });

  test('can be said, also later, and taken back', async () => {
    const name = await create({});
    for (const serialChanges of [true, false, null]) expect((await change(name, { serialChanges })).spec.external?.shelf).toBe(1);
    await create({ serialChanges: true });
  });

  test('cannot be said of a serial number that is in the spec', async () => {
    await expect(create({ serial: 'S', serialChanges: true })).rejects.toMatchObject(refusal(/either serial or serialChanges/));
    await expect(change(await create({ serial: 'S' }), { serialChanges: true })).rejects.toMatchObject(refusal(/either serial/));
  });

  test('is all that can be changed of an external target', async () => {
    for (const other of [{ shelf: 3 }, { slot: 3 }, { serial: 'T' }, { slot: 3, serialChanges: true }])
      await expect(change(await create({}), other)).rejects.toMatchObject(refusal(/external cannot be changed/));
    await expect(change(await create({ serial: 'S' }), { serial: null })).rejects.toMatchObject(refusal(/external cannot be changed/));
  });
}
