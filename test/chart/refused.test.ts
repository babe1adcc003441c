import { render } from './helm.ts';

describe('values of the chart', () => {
  const file = { name: 'a', backend: 'file' };
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
  ];
  for (const [what, values, message] of refused) {
    it(`are refused with ${what}`, async () => {
      await expect(render(values)).rejects.toThrow(message);
    });
  }
});
