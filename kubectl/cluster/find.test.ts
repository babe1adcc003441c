import { UsageError } from '../../run/config.ts';
import { claim, persistentVolume, pod, smallCluster, volume } from '../testing/objects.ts';
import { findChains, NotFoundError, parseSubject } from './find.ts';
import { AOE_VOLUMES, CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES } from './objects.ts';
import { Reader } from './reader.ts';

describe('parseSubject', () => {
  it('knows the three forms', () => {
    expect(parseSubject('pvc-1')).toStrictEqual({ kind: 'volume', name: 'pvc-1' });
    expect(parseSubject('pvc:shop/data')).toStrictEqual({ kind: 'pvc', namespace: 'shop', name: 'data' });
    expect(parseSubject('pod:shop/web-0')).toStrictEqual({ kind: 'pod', namespace: 'shop', name: 'web-0' });
  });

  it.each(['pvc:data', 'pod:', 'pod:a/b/c', 'node:n', '', '../x'])('refuses "%s"', (text) =>
    expect(() => parseSubject(text)).toThrow(UsageError),
  );
});

describe('findChains', () => {
  const find = (text: string, fake = smallCluster()) => findChains(new Reader(fake.kubectl), parseSubject(text));
  const short = (chains: Awaited<ReturnType<typeof find>>) =>
    chains.map(({ claimName, volumeName, volume: found, pods }) => [
      claimName?.name,
      volumeName,
      found?.metadata.name,
      pods?.map(({ metadata }) => metadata.name),
    ]);

  it.each(['pvc-1', 'pvc:shop/data', 'pod:shop/web'])('leads from %s to the same', async (text) =>
    expect(short(await find(text))).toStrictEqual([['data', 'pvc-1', 'pvc-1', ['web']]]),
  );

  it('finds all volumes of a pod that are ours, those of ephemeral volumes, too', async () => {
    const fake = smallCluster().put(AOE_VOLUMES, volume('v-2')).put(CLAIMS, claim('two-tmp', 'pv-2'), claim('nfs', 'pv-nfs'));
    fake.put(
      PERSISTENT_VOLUMES,
      { ...persistentVolume('v-2', 'two-tmp'), metadata: { name: 'pv-2' } },
      { metadata: { name: 'pv-nfs' }, spec: {} },
    );
    const two = pod('two', { claims: ['data', 'nfs'] });
    fake.put(PODS, { ...two, spec: { ...two.spec, volumes: [...(two.spec.volumes ?? []), { name: 'tmp', ephemeral: {} }] } });
    expect(short(await find('pod:shop/two', fake)).map(([name, volumeName]) => [name, volumeName])).toStrictEqual([
      ['data', 'pvc-1'],
      ['two-tmp', 'v-2'],
    ]);
  });

  it('keeps claims of a pod that may not be read, or do not exist: they may be ours', async () => {
    const fake = smallCluster().put(PODS, pod('two', { claims: ['data', 'none'] }));
    expect(await find('pod:shop/two', fake)).toMatchObject([
      { volumeName: 'pvc-1' },
      { claimName: { name: 'none' }, isClaimGone: true, pods: [{ metadata: { name: 'two' } }] },
    ]);
    fake.forbidden.add('persistentvolumeclaims');
    expect(await find('pod:shop/two', fake)).toMatchObject([
      { claimName: { name: 'data' }, isClaimGone: false },
      { claimName: { name: 'none' }, isClaimGone: false },
    ]);
  });

  it('leaves out a claim that waits for a volume of another driver', async () => {
    const fake = smallCluster()
      .put(STORAGE_CLASSES, { metadata: { name: 'aoe' }, provisioner: 'aoe.dev' }, { metadata: { name: 'nfs' }, provisioner: 'nfs.io' })
      .put(CLAIMS, { ...claim('files', undefined), spec: { storageClassName: 'nfs' } }, claim('new', undefined))
      .put(PODS, pod('two', { claims: ['files', 'new'] }));
    expect(short(await find('pod:shop/two', fake)).map(([name]) => name)).toStrictEqual(['new']);
    await expect(find('pvc:shop/files', fake)).rejects.toThrow('claim shop/files waits for a volume of nfs.io, not of aoe.dev');
    fake.forbidden.add('storageclasses');
    expect(short(await find('pvc:shop/files', fake))).toMatchObject([['files', undefined, undefined, ['two']]]);
  });

  it('knows that no pod uses a volume that has no claim', async () => {
    const fake = smallCluster().put(AOE_VOLUMES, volume('by-hand'));
    expect(await find('by-hand', fake)).toMatchObject([{ pods: [] }]);
    fake.forbidden.add('persistentvolumes');
    expect((await find('by-hand', fake))[0]?.pods).toBeUndefined();
  });

  it('stops at a claim that has no volume yet', async () => {
    const fake = smallCluster().put(CLAIMS, claim('new', undefined));
    expect(await find('pvc:shop/new', fake)).toMatchObject([{ claimName: { name: 'new' }, pods: [] }]);
  });

  it('says what is not there, what is not ours, and what may not be read', async () => {
    await expect(find('pvc-9')).rejects.toThrow('there is no AoEVolume pvc-9');
    await expect(find('pod:shop/none')).rejects.toThrow('there is no pod shop/none');
    const fake = smallCluster().put(PODS, pod('plain'));
    await expect(find('pod:shop/plain', fake)).rejects.toThrow(NotFoundError);
    fake.forbidden.add('aoevolumes');
    await expect(find('pvc-1', fake)).rejects.toThrow('AoEVolume pvc-1 cannot be read');
    expect((await find('pvc:shop/data', fake))[0]).toMatchObject({ volumeName: 'pvc-1', volume: undefined });
  });
});
