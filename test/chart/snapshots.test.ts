import { containers, of, render, SNAPSHOT_API } from './helm.ts';

describe('values of the chart', () => {
  it('take VolumeSnapshots where the cluster has them, unless told otherwise', async () => {
    const parts = async (enabled: unknown, apis: string[]) => {
      const manifests = await render({ controller: { snapshotter: { enabled } } }, { apis });
      const rules = manifests.filter(({ kind }) => kind === 'ClusterRole').flatMap((role) => role.rules);
      return [
        containers(manifests).some(({ name }) => name === 'csi-snapshotter'),
        manifests.some(({ kind }) => kind === 'VolumeSnapshotClass'),
        rules.some(({ apiGroups }) => apiGroups.includes('snapshot.storage.k8s.io')),
      ];
    };
    for (const [enabled, apis, are] of [
      ['auto', SNAPSHOT_API, true],
      ['auto', [], false],
      [true, [], true],
      [false, SNAPSHOT_API, false],
    ] as const)
      expect(await parts(enabled, [...apis]), `${enabled}`).toStrictEqual([are, are, are]);
  });

  it('describe classes of snapshots', async () => {
    const volumeSnapshotClasses = [{ name: 'kept', deletionPolicy: 'Retain' }, { name: 'plain' }];
    const manifests = await render({ volumeSnapshotClasses }, { apis: SNAPSHOT_API });
    const kept = of(manifests, 'VolumeSnapshotClass', 'kept');
    expect([kept.driver, kept.deletionPolicy, kept.metadata.annotations]).toStrictEqual(['aoe.dev', 'Retain', undefined]);
    expect(of(manifests, 'VolumeSnapshotClass', 'plain').deletionPolicy).toBe('Delete');
    const [standard] = (await render({}, { apis: SNAPSHOT_API })).filter(({ kind }) => kind === 'VolumeSnapshotClass');
    expect(standard.metadata.annotations['snapshot.storage.kubernetes.io/is-default-class']).toBe('true');
  });
});
