import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { Kube } from '../../../kube/mod.ts';

type Spec = Record<string, unknown>;

const external = { shelf: 55, slot: 5 };
const COPIED: Spec = { capacity: '1Gi', pool: 'lvm', source: { external } };

/** Tests of a copy of the disk of an external target, as a real API server checks it. */
export function externalSource(kube: () => Kube): void {
  let count = 0;
  const create = (spec: Spec) => kube().create<AoEVolume>(AOE_VOLUMES, { metadata: { name: `c${++count}` }, spec } as never);
  const refusal = (message: RegExp) => ({ code: 422, message: expect.stringMatching(message) });

  test('it may have the address of that target, and name the serial number', async () => {
    const source = { external: { ...external, serial: '55.5:old' } };
    const { spec } = await create({ ...COPIED, source, address: external });
    expect([spec.source, spec.address]).toStrictEqual([source, external]);
  });

  for (const [what, spec, message] of [
    ['without a capacity', { ...COPIED, capacity: undefined }, /capacity is required/],
    ['beside a snapshot', { ...COPIED, source: { external, snapshot: 's' } }, /give either snapshot .* or external/],
    ['as an empty source', { ...COPIED, source: {} }, /give either snapshot .* or external/],
    ['beside adoption', { ...COPIED, nodeName: 'n', adopt: 'old' }, /either adopt or source/],
    ['without a pool', { external: { shelf: 1, slot: 2 }, source: { external } }, /source does not apply to an external target/],
    ['with every shelf', { ...COPIED, source: { external: { shelf: 0xffff, slot: 5 } } }, /shelf/],
    ['with the shelf that Linux refuses', { ...COPIED, source: { external: { shelf: 0xfff, slot: 5 } } }, /shelf 4095 cannot be used/],
  ] as const)
    test(`${what} it is refused`, async () => await expect(create(spec)).rejects.toMatchObject(refusal(message)));

  test('it cannot be changed', async () => {
    const { name } = (await create(COPIED)).metadata;
    const other = kube().patch(AOE_VOLUMES, name, { spec: { source: { external: { shelf: 56 } } } });
    await expect(other).rejects.toMatchObject(refusal(/source cannot be changed/));
  });
}
