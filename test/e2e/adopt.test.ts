import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

const MARKER = 'was there before';
const DIRECTORY = '/var/lib/aoe-csi/pools/default';

describe('data that was there before', () => {
  let cluster: Cluster;
  let ns: Namespace;
  const made: string[] = [];
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'adopt');
  });
  afterAll(async () => {
    await ns?.delete();
    for (const name of made) {
      await cluster.kubectl(['delete', 'pv', name, '--ignore-not-found', '--wait=false']);
      await cluster.kubectl(['delete', 'aoev', name, '--ignore-not-found', '--timeout=60s']);
    }
    await cluster?.guest('storage-1').exec(`set +e; umount /mnt/old; lvremove -qy vg0/e2e-old; rm -f ${DIRECTORY}/e2e-old.raw; true`);
  });

  const storage = () => cluster.guest('storage-1');
  const condition = (name: string, type: string, reason: string, timeoutMs?: number) =>
    cluster.condition(name, type, { reason }, timeoutMs);
  /** A file system with a file, mounted at /mnt/old. */
  const fill = (device: string) =>
    `mkfs.ext4 -q ${device}; mkdir -p /mnt/old; mount -o ${device.startsWith('/dev') ? 'defaults' : 'loop'} ${device} /mnt/old; echo '${MARKER}' > /mnt/old/marker`;
  const adopt = async (name: string, pool: string, from: string) => {
    made.push(name);
    await cluster.apply([aoeVolume(name, { pool, nodeName: 'storage-1', adopt: from, capacity: '64Mi' })]);
  };
  /** A pod on another node reads the marker, and writes beside it. */
  const use = async (name: string) => {
    await cluster.apply([staticVolume(name, { volume: name, fsType: 'ext4' })]);
    const script = 'cat /data/marker; echo new > /data/new; sync; touch /tmp/ready; sleep 3600';
    await ns.apply([claim(name, { storageClass: '', volumeName: name }), pod(name, { claim: name, node: 'worker-1', script })]);
    await ns.ready(name, 90_000);
    expect(await ns.said(name)).toContain(MARKER);
  };
  /** Everything goes as a person would delete it. */
  const giveBack = async (name: string) => {
    await ns.kubectl('delete', 'pod', name);
    await ns.kubectl('delete', 'pvc', name);
    await cluster.kubectl(['delete', 'pv', name, '--timeout=60s']);
    await cluster.kubectl(['delete', 'aoev', name, '--timeout=60s']);
  };

  it('on a logical volume is mounted by a pod, and is on it under its old name when the AoEVolume is deleted', async () => {
    await storage().exec(`lvcreate -qy -Wn -L 64M -n e2e-old --addtag mine vg0; ${fill('/dev/vg0/e2e-old')}`);
    await adopt('e2e-adopted', 'lvm', 'e2e-old');
    expect((await condition('e2e-adopted', 'Provisioned', 'AdoptionInUse')).message).toContain('vg0/e2e-old is in use');
    await storage().exec('umount /mnt/old');
    const { message } = await condition('e2e-adopted', 'Provisioned', 'Provisioned');
    expect(message).toContain('which was vg0/e2e-old before it was adopted');
    await use('e2e-adopted');
    await giveBack('e2e-adopted');
    const after =
      'lvs --noheadings -o lv_tags vg0/e2e-old; mount -o ro /dev/vg0/e2e-old /mnt/old; cat /mnt/old/marker /mnt/old/new; umount /mnt/old';
    expect((await storage().exec(after)).trim().split(/\s*\n\s*/)).toStrictEqual(['mine', MARKER, 'new']);
  });

  it('in a file is mounted by a pod, and is in it under its old name when the AoEVolume is deleted', async () => {
    const path = `${DIRECTORY}/e2e-old.raw`;
    await storage().exec(`truncate -s 64M ${path}; ${fill(path)}; umount /mnt/old`);
    await adopt('e2e-adopted-file', 'default', 'e2e-old.raw');
    await use('e2e-adopted-file');
    await giveBack('e2e-adopted-file');
    const after = `mount -o loop,ro ${path} /mnt/old; cat /mnt/old/marker /mnt/old/new; umount /mnt/old`;
    expect((await storage().exec(after)).trim().split('\n')).toStrictEqual([MARKER, 'new']);
  });

  it('on the disk of another target is copied, and is served at its address when that target is stopped', async () => {
    const name = 'e2e-copied';
    const address = { shelf: 56, slot: 6 };
    const server = cluster.guest('storage-2');
    made.push(name);
    await server.exec('truncate -s 48M /tmp/external.img');
    await server.exec(
      `mkfs.ext4 -qF /tmp/external.img; mkdir -p /mnt/old; mount -o loop /tmp/external.img /mnt/old; echo '${MARKER}' > /mnt/old/marker; umount /mnt/old`,
    );
    await server.exec('(vblade 56 6 vec0 /tmp/external.img >/tmp/external.log 2>&1 & echo $! > /tmp/external.pid)');
    const stop = () => server.exec('if [ -f /tmp/external.pid ]; then kill $(cat /tmp/external.pid); rm -f /tmp/external.pid; fi');
    try {
      // vblade prints the size just before it answers.
      await server.exec("timeout 60 sh -c 'until grep -q sectors /tmp/external.log; do sleep 0.1; done'");
      const spec = { pool: 'lvm', nodeName: 'storage-1', address, source: { external: address } };
      await cluster.apply([aoeVolume(name, { ...spec, capacity: '32Mi' })]);
      expect((await condition(name, 'Provisioned', 'SourceTooLarge')).message).toContain('has 48Mi, more than the 32Mi');
      await cluster.apply([aoeVolume(name, { ...spec, capacity: '64Mi' })]);
      await condition(name, 'Provisioned', 'Provisioned');
      const { message } = await condition(name, 'AddressConflict', 'AnsweredBySource');
      expect(message).toContain((await server.exec('cat /sys/class/net/vec0/address')).trim());
      await stop();
      // Nobody must answer at the address for half a minute.
      await condition(name, 'Ready', 'Exported', 90_000);
      await use(name);
      await giveBack(name);
      const after = 'mount -o loop,ro /tmp/external.img /mnt/old; cat /mnt/old/marker; ls /mnt/old; umount /mnt/old';
      expect((await server.exec(after)).trim().split('\n'), 'its disk is as it was').toStrictEqual([MARKER, 'lost+found', 'marker']);
    } finally {
      await stop();
      await server.exec('rm -f /tmp/external.*');
    }
  });
});
