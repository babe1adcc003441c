import { claim, persistentVolume, pod, volume } from '../testing/objects.ts';
import { type Collected, chainsOf } from './collect.ts';

/** Gives what is in it, and counts how often that was asked for. */
function counted<T>(items: readonly T[]): { list: readonly T[]; reads: () => number } {
  let reads = 0;
  const get = (target: readonly T[], key: string | symbol, receiver: unknown): unknown => {
    if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
    return Reflect.get(target, key, receiver);
  };
  return { list: new Proxy(items, { get }), reads: () => reads };
}

describe('chainsOf', () => {
  it('leads from a volume to its claim and the pods that use it', () => {
    const web = pod('web', { claims: ['data', 'data'] });
    const chainOf = chainsOf({
      persistentVolumes: [persistentVolume('pvc-1', 'data')],
      claims: [claim('data', 'pvc-other', 'elsewhere'), claim('data', 'pvc-1')],
      users: [web, pod('other', { claims: ['logs'] }), pod('twin', { namespace: 'elsewhere', claims: ['data'] })],
    } as unknown as Collected);
    expect(chainOf(volume('pvc-1'))).toMatchObject({
      claimName: { namespace: 'shop', name: 'data' },
      claim: claim('data', 'pvc-1'),
      persistentVolume: { metadata: { name: 'pvc-1' } },
      pods: [web],
    });
    expect(chainOf(volume('by-hand'))).toStrictEqual({
      claimName: undefined,
      claim: undefined,
      persistentVolume: undefined,
      volumeName: 'by-hand',
      volume: volume('by-hand'),
      pods: undefined,
    });
    expect(chainsOf({} as unknown as Collected)(volume('v', { metadata: { annotations: { 'aoe.dev/claim': 'shop/data' } } })).pods).toBe(
      undefined,
    );
  });

  it('reads each list once for all volumes', () => {
    const names = Array.from({ length: 100 }, (_, index) => `pvc-${index}`);
    const persistentVolumes = counted(names.map((name) => persistentVolume(name, `data-${name}`)));
    const claims = counted(names.map((name) => claim(`data-${name}`, name)));
    const users = counted(names.map((name) => pod(`web-${name}`, { claims: [`data-${name}`] })));
    const chainOf = chainsOf({
      persistentVolumes: persistentVolumes.list,
      claims: claims.list,
      users: users.list,
    } as unknown as Collected);
    for (const name of names) expect(chainOf(volume(name)).pods).toHaveLength(1);
    expect([persistentVolumes, claims, users].map(({ reads }) => reads())).toStrictEqual([100, 100, 100]);
  });
});
