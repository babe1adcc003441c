import { GROUP_SNAPSHOT_API, of, render, SNAPSHOT_API } from './helm.ts';

describe('values of the chart', () => {
  const file = { name: 'a', backend: 'file' };
  const inside = { ...file, directory: '/var/lib/aoe-csi/a' };
  const lvm = { name: 'a', backend: 'lvm', volumeGroup: 'v' };
  const encryptionSecret = { name: 'k', namespace: 'n' };
  const refused: [string, object, RegExp][] = [
    ['an unknown key', { interface: ['eth0'] }, /additional properties 'interface' not allowed/],
    [
      'an unknown key inside a pool',
      { pools: [{ ...file, directory: '/var/lib/aoe-csi/a', size: '1Gi' }] },
      /'\/pools\/0'.*'size' not allowed/,
    ],
    ['shelves that are not a range', { addresses: { shelves: 'seven' } }, /'\/addresses\/shelves'/],
    ['shelves the wrong way round', { addresses: { shelves: '9-3' } }, /addresses\.shelves: "9-3" is not a range of usable shelves/],
    ['shelves beyond the last', { addresses: { shelves: '1-65535' } }, /addresses\.shelves/],
    ['only the shelf that Linux refuses', { addresses: { shelves: '4095-4095' } }, /4095 alone cannot be used/],
    ['an unknown backend', { pools: [{ name: 'a', backend: 'zfs' }] }, /must be one of 'lvm', 'lvm-thin', 'file'/],
    ['a file pool without a directory', { pools: [file] }, /pools: a: backend file needs a directory/],
    ['a file pool that the pods cannot see', { pools: [{ ...file, directory: '/srv/a' }] }, /name it in storage\.directories/],
    ['a directory that only looks as if it were inside', { pools: [{ ...file, directory: '/var/lib/aoe-csi-2' }] }, /do not see/],
    ['an LVM pool without a volume group', { pools: [{ name: 'a', backend: 'lvm' }] }, /backend lvm needs a volumeGroup/],
    ['a thin pool without its name', { pools: [{ name: 'a', backend: 'lvm-thin', volumeGroup: 'v' }] }, /needs a thinPool/],
    ['two pools of one name', { pools: [1, 2].map(() => ({ name: 'a', backend: 'lvm', volumeGroup: 'v' })) }, /two pools of that name/],
    ['an encrypted class without a namespace', { storageClasses: [{ name: 'a', encryptionSecret: { name: 'k' } }] }, /namespace/],
    ['authentication without a key', { storageClasses: [{ name: 'a', authenticatedEncryption: true }] }, /needs an encryptionSecret/],
    ['two default classes', { storageClasses: ['a', 'b'].map((name) => ({ name, isDefault: true })) }, /only one can be the default/],
    ['two default snapshot classes', { volumeSnapshotClasses: ['a', 'b'].map((name) => ({ name, isDefault: true })) }, /a and b: only one/],
    ['a snapshotter that is perhaps on', { controller: { snapshotter: { enabled: 'perhaps' } } }, /'\/controller\/snapshotter\/enabled'/],
    ['an unknown filesystem', { storageClasses: [{ name: 'a', fsType: 'btrfs' }] }, /must be one of 'ext4', 'xfs'/],
    ['a relative kubelet path', { kubeletPath: 'var/lib/kubelet' }, /'\/kubeletPath'/],
    ['an interface name that Linux cannot have', { interfaces: ['much-too-long-a-name'] }, /'\/interfaces\/0'/],
    ['no replica at all', { controller: { replicas: 0 } }, /'\/controller\/replicas': minimum/],
    ['a parameter of the module that cannot be set', { node: { module: { parameters: { aoe_dyndevs: 0 } } } }, /'aoe_dyndevs' not allowed/],
    ['no request under way at all', { node: { module: { parameters: { aoe_maxout: 0 } } } }, /aoe_maxout': minimum/],
    ['an environment variable that is a number', { node: { extraEnv: [{ name: 'A', value: 1 }] } }, /extraEnv\/0\/value'/],
    ['a digest that is none', { image: { digest: 'latest' } }, /'\/image\/digest'/],
    ['a directory that is the one for the state', { storage: { directories: ['/var/lib/aoe-csi'] } }, /is storage\.statePath/],
    [
      'a directory where the pods have something else',
      { storage: { directories: ['/mnt/a', '/run/lvm'] } },
      /something else at \/run\/lvm/,
    ],
    ['the state where the pods have something else', { storage: { statePath: '/run/aoe-csi' } }, /statePath: the pods have something else/],
    ['a kubelet in the place of the modules', { kubeletPath: '/lib/modules' }, /kubeletPath: the pods have something else/],
    ['one port for agent and node plugin', { node: { httpPort: 9811 } }, /node\.httpPort and storage\.agent\.httpPort are both 9811/],
    [
      'one port for changed blocks and for metrics',
      { controller: { snapshotMetadata: { enabled: true } }, storage: { agent: { blocksPort: 9810 } } },
      /node\.httpPort and storage\.agent\.blocksPort are both 9810/,
    ],
    [
      'more promised than a pool of files has',
      { pools: [{ ...inside, overprovision: '200%' }] },
      /overprovision goes with backend lvm-thin/,
    ],
    ['more promised than a volume group has', { pools: [{ ...lvm, overprovision: '200%' }] }, /overprovision goes with backend lvm-thin/],
    ['space back from whole volumes', { pools: [{ ...lvm, reclaimZeros: 'None' }] }, /reclaimZeros goes with backends lvm-thin and file/],
    ['a volume group that is a folder', { pools: [{ ...lvm, volumeGroup: '..' }] }, /pools: a: "\.\." is not a name that LVM takes/],
    [
      'authenticated volumes that grow',
      { storageClasses: [{ name: 'a', encryptionSecret, authenticatedEncryption: true, allowVolumeExpansion: true }] },
      /storageClasses: a has authenticatedEncryption, with which volumes cannot grow/,
    ],
    ...['controller', 'node', 'storage'].flatMap((part) =>
      ['name', 'instance', 'component'].map((key): [string, object, RegExp] => [
        `another label ${key} of the pods of ${part}`,
        { [part]: { podLabels: { [`app.kubernetes.io/${key}`]: 'x' } } },
        new RegExp(`${part}\\.podLabels: app\\.kubernetes\\.io/${key} is a label by which`),
      ]),
    ),
    ...['provisioner', 'attacher', 'resizer', 'snapshotter'].map((sidecar): [string, object, RegExp] => [
      `no version of the ${sidecar}`,
      { controller: { [sidecar]: { image: { tag: '' } } } },
      new RegExp(`controller\\.${sidecar}\\.image: needs a tag or a digest`),
    ]),
    ['more requests than a flag can say', { controller: { resizer: { kubeAPI: { burst: 1_000_000 } } } }, /burst': maximum/],
    ['more requests a second than a flag can say', { controller: { attacher: { kubeAPI: { qps: 1_000_000 } } } }, /qps': maximum/],
  ];
  for (const [what, values, message] of refused) {
    it(`are refused with ${what}`, async () => {
      await expect(render(values)).rejects.toThrow(message);
    });
  }

  it('may differ where they do not meet', async () => {
    const manifests = await render({
      controller: { resizer: { enabled: false, image: { tag: '' } }, attacher: { image: { tag: '', digest: `sha256:${'0'.repeat(64)}` } } },
      node: { httpPort: 9816, podLabels: { team: 'storage' } },
      storage: { directories: ['/run/lvm/pools'] },
    });
    expect(manifests).not.toHaveLength(0);
  });

  it('are names although they look like a number or a truth to YAML', async () => {
    for (const name of ['1', '0123', '1e3', 'true', 'on', 'null']) {
      const classes = [{ name }];
      const manifests = await render(
        {
          pools: [{ ...inside, name }],
          storageClasses: [{ name, pool: name }],
          volumeSnapshotClasses: classes,
          volumeGroupSnapshotClasses: classes,
          controller: { priorityClassName: name },
          metrics: { dashboards: { enabled: true, namespace: name } },
        },
        { apis: [...SNAPSHOT_API, ...GROUP_SNAPSHOT_API], namespace: name, release: name },
      );
      for (const kind of ['AoEPool', 'StorageClass', 'VolumeSnapshotClass', 'VolumeGroupSnapshotClass'])
        expect(of(manifests, kind).metadata.name, kind).toBe(name);
      expect(of(manifests, 'StorageClass').parameters.pool).toBe(name);
      for (const { kind, metadata, subjects = [] } of manifests) {
        expect(metadata.namespace ?? name, kind).toBe(name);
        expect(metadata.labels['app.kubernetes.io/instance'], kind).toBe(name);
        for (const { namespace } of subjects) expect(namespace, kind).toBe(name);
      }
      const { selector, template } = of(manifests, 'Deployment').spec;
      expect(selector.matchLabels['app.kubernetes.io/instance']).toBe(name);
      expect(template.spec.priorityClassName).toBe(name);
    }
  });
});
