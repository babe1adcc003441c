import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolumeSpec } from '../../../api/volume.ts';
import type { Kube, KubeObject } from '../../../kube/mod.ts';

const ENCRYPTED = { pool: 'p', capacity: '1Gi', encryption: 'LUKS2' };
let count = 0;

/** Tests of encryption of an AoEVolume on a real API server. */
export function encryptionRules(kube: () => Kube): void {
  const create = (spec: object) =>
    kube().create<KubeObject & { spec: AoEVolumeSpec }>(AOE_VOLUMES, { metadata: { name: `encryption-${++count}` }, spec } as never);

  it('is accepted, and stays as it is', async () => {
    const { metadata, spec } = await create(ENCRYPTED);
    expect(spec.encryption).toBe('LUKS2');
    await expect(kube().patch(AOE_VOLUMES, metadata.name, { spec: { encryption: null } })).rejects.toThrow(/encryption cannot be changed/);
    const plain = await create({ pool: 'p', capacity: '1Gi' });
    await expect(kube().patch(AOE_VOLUMES, plain.metadata.name, { spec: { encryption: 'LUKS2' } })).rejects.toThrow(
      /encryption cannot be changed/,
    );
  });

  it('with authentication never grows, and stays Exclusive', async () => {
    const { metadata } = await create({ ...ENCRYPTED, encryption: 'LUKS2Authenticated' });
    const patch = (spec: object) => kube().patch(AOE_VOLUMES, metadata.name, { spec });
    await expect(patch({ capacity: '2Gi' })).rejects.toThrow(/authenticated encryption cannot grow/);
    for (const access of ['Shared', 'ReadOnlyMany']) await expect(patch({ access })).rejects.toThrow(/must be Exclusive/);
    await patch({ initiators: { nodes: ['n1'] } });
  });

  for (const [what, spec, message] of [
    [
      'with authentication on a disk that is too small',
      { ...ENCRYPTED, encryption: 'LUKS2Authenticated', capacity: '17Mi' },
      /at least 18Mi/,
    ],
    ['with authentication for many nodes', { ...ENCRYPTED, encryption: 'LUKS2Authenticated', access: 'ReadOnlyMany' }, /must be Exclusive/],
    ['of a kind that there is not', { ...ENCRYPTED, encryption: 'ROT13' }, /spec\.encryption.*"LUKS2"/],
    ['without room for data', { ...ENCRYPTED, capacity: '16Mi' }, /must be more than 16Mi/],
    [
      "of somebody else's target",
      { external: { shelf: 1, slot: 1 }, encryption: 'LUKS2' },
      /encryption does not apply to an external target/,
    ],
  ] as const) {
    it(`${what} is refused`, () => expect(create(spec)).rejects.toThrow(message));
  }
}
