import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { isRetained } from '../../../api/volume.ts';
import type { Kube } from '../../../kube/mod.ts';

type Spec = Record<string, unknown>;

const ADOPTED: Spec = { capacity: '1Gi', pool: 'lvm', nodeName: 'storage-1', adopt: 'old' };

/** Tests of adoption, as a real API server checks it. */
export function adopt(kube: () => Kube): void {
  let count = 0;
  const create = (spec: Spec) => kube().create<AoEVolume>(AOE_VOLUMES, { metadata: { name: `a${++count}` }, spec } as never);
  const refusal = (message: RegExp) => ({ code: 422, message: expect.stringMatching(message) });

  for (const adopt of ['old', 'db_1+x.img', '0', 'aoe-11111111-2222-3333-4444-555555555555'])
    test(`the name ${adopt} is accepted`, async () => expect((await create({ ...ADOPTED, adopt })).spec.adopt).toBe(adopt));

  for (const adopt of ['', '.', '..', '../x', 'a/b', '-x', '.hidden', 'a b', 'ä', 'a\n', 'x'.repeat(128)])
    test(`the name ${JSON.stringify(adopt)} is refused`, async () =>
      await expect(create({ ...ADOPTED, adopt })).rejects.toMatchObject(refusal(/spec\.adopt/)));

  for (const [what, spec, message] of [
    ['without a node', { ...ADOPTED, nodeName: undefined }, /adopt needs pool and nodeName/],
    ['without a capacity', { ...ADOPTED, capacity: undefined }, /capacity is required/],
    ['beside a source', { ...ADOPTED, source: { snapshot: 's' } }, /either adopt or source/],
    ['of an external target', { external: { shelf: 1, slot: 2 }, adopt: 'old' }, /adopt needs pool and nodeName/],
  ] as const)
    test(`${what} it is refused`, async () => await expect(create(spec)).rejects.toMatchObject(refusal(message)));

  test('it cannot be changed, added or taken away', async () => {
    const change = (name: string, adopt: string | null) => kube().patch(AOE_VOLUMES, name, { spec: { adopt } });
    const adopted = (await create(ADOPTED)).metadata.name;
    const { adopt: _, ...plain } = ADOPTED;
    const empty = (await create(plain)).metadata.name;
    for (const [name, adopt] of [
      [adopted, 'other'],
      [adopted, null],
      [empty, 'old'],
    ] as const)
      await expect(change(name, adopt)).rejects.toMatchObject(refusal(/adopt cannot be changed/));
  });

  test('adopted data is kept unless somebody asks for its removal, and other data is removed', async () => {
    const { adopt: _, ...plain } = ADOPTED;
    const policies = [ADOPTED, { ...ADOPTED, deletionPolicy: 'Delete' }, plain, { ...plain, deletionPolicy: 'Retain' }];
    const made = await Promise.all(policies.map(create));
    expect(made.map(isRetained)).toStrictEqual([true, false, false, true]);
  });
}
