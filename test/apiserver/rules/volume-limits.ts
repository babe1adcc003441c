import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { Kube, KubeObject } from '../../../kube/mod.ts';

const OURS = { capacity: '1Gi', pool: 'default' };
let count = 0;

/** Tests of spec.limits on a real API server. */
export function volumeLimits(kube: () => Kube): void {
  const create = (spec: object): Promise<KubeObject & { spec: { limits?: object } }> =>
    kube().create(AOE_VOLUMES, { metadata: { name: `x${++count}` }, spec } as never);

  for (const limits of [
    {},
    { iops: 1_000_000_000, readBytesPerSecond: '65536', writeBytesPerSecond: '1.5Ti', burstSeconds: 3600 },
    { readIOPS: 10, bytesPerSecond: '64Ki' },
    { writeIOPS: 10, burstSeconds: 1 },
  ]) {
    test(`${JSON.stringify(limits)} are accepted`, async () => {
      expect((await create({ ...OURS, limits })).spec.limits).toStrictEqual(limits);
    });
  }

  for (const [limits, message] of [
    [{ iops: 0 }, /spec\.limits\.iops.*greater than or equal to 10/],
    [{ iops: 1 }, /spec\.limits\.iops.*greater than or equal to 10/],
    [{ writeIOPS: 1_000_000_001 }, /spec\.limits\.writeIOPS.*less than or equal to 1/],
    [{ iops: '100' }, /spec\.limits\.iops.*must be of type integer/],
    [{ bytesPerSecond: '0' }, /spec\.limits\.bytesPerSecond.*must be at least 64Ki and less than 8Pi/],
    [{ bytesPerSecond: '65535' }, /spec\.limits\.bytesPerSecond.*must be at least 64Ki/],
    [{ readBytesPerSecond: '18446744073709551616' }, /spec\.limits\.readBytesPerSecond.*must be at least 64Ki and less than 8Pi/],
    [{ bytesPerSecond: 'fast' }, /spec\.limits\.bytesPerSecond.*must be at least 64Ki/],
    [{ iops: 100, readIOPS: 100 }, /give either iops, or readIOPS and writeIOPS/],
    [{ bytesPerSecond: '1Mi', writeBytesPerSecond: '1Mi' }, /give either bytesPerSecond, or/],
    [{ burstSeconds: 5 }, /burstSeconds does nothing without a limit/],
    [{ iops: 100, burstSeconds: 3601 }, /spec\.limits\.burstSeconds.*less than or equal to 3600/],
  ] as const) {
    test(`${JSON.stringify(limits)} are refused`, async () => {
      await expect(create({ ...OURS, limits })).rejects.toMatchObject({ code: 422, message: expect.stringMatching(message) });
    });
  }

  test('an external target has none', async () => {
    const refused = create({ external: { shelf: 1, slot: 2 }, limits: { iops: 100 } });
    await expect(refused).rejects.toThrow(/limits do not apply to an external target/);
  });

  test('they are changed and taken away at any time', async () => {
    const { metadata } = await create({ ...OURS, limits: { iops: 100 } });
    for (const limits of [{ iops: null, readIOPS: 50 }, null])
      expect((await kube().patch(AOE_VOLUMES, metadata.name, { spec: { limits } })).metadata.generation).toBeGreaterThan(1);
  });
}
