import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** Volumes that must not be mounted, each with the reason that the pod's events give. Disks are vblades, so that they can be anything. */
describe('a disk that is not what the volume says', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'wrong-disk');
  });
  afterAll(async () => {
    await ns?.delete();
  });

  const cases: { name: string; slot: number; fill: string; serial?: string; fsType?: string; says: RegExp }[] = [
    { name: 'serial', slot: 1, fill: ':', serial: 'NOTTHISDISK', says: /NOTTHISDISK/ },
    { name: 'other-filesystem', slot: 2, fill: 'mkfs.xfs -q -f $img', fsType: 'ext4', says: /xfs/ },
    {
      name: 'unknown-data',
      slot: 3,
      fill: 'printf precious | dd of=$img bs=1 seek=40000 conv=notrunc 2>/dev/null',
      fsType: 'ext4',
      says: /data/,
    },
    { name: 'partition-table', slot: 4, fill: 'printf "label: dos\\n,,L\\n" | sfdisk -q $img', fsType: 'ext4', says: /dos|partition/ },
  ];

  for (const { name, slot, fill, serial, fsType, says } of cases) {
    it(`(${name}) is neither formatted nor mounted, and the pod's events say why`, async () => {
      const server = cluster.guest('storage-2');
      const image = `/tmp/wrong-${name}.img`;
      const volume = `wrong-${name}`;
      await server.exec(
        `img=${image}; truncate -s 320M $img; ${fill}; md5sum < $img > $img.md5; (vblade 54 ${slot} vec0 $img >/dev/null 2>&1 & echo $! > $img.pid)`,
      );
      try {
        await cluster.apply([
          aoeVolume(volume, { external: { shelf: 54, slot, ...(serial ? { serial } : {}) } }),
          staticVolume(volume, { volume, ...(fsType ? { fsType } : {}) }),
        ]);
        await ns.apply([
          claim(name, { storageClass: '', volumeName: volume }),
          pod(name, { claim: name, node: 'worker-1', script: 'touch /tmp/ready; sleep 3600' }),
        ]);
        await ns.event(name, 'FailedMount', says);
        await server.exec(`md5sum < ${image} | cmp - ${image}.md5`);
      } finally {
        await ns.kubectl('delete', 'pod', name, '--ignore-not-found');
        await ns.kubectl('delete', 'pvc', name, '--ignore-not-found');
        await cluster.kubectl(['delete', 'pv', volume, '--ignore-not-found', '--timeout=60s']);
        await cluster.kubectl(['delete', 'aoev', volume, '--ignore-not-found', '--timeout=60s']);
        await server.exec(`kill $(cat ${image}.pid); rm -f ${image} ${image}.*`);
      }
    });
  }
});
