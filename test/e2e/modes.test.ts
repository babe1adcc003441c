import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';
import { Ocfs2 } from './ocfs2.ts';

const NODES = ['worker-1', 'storage-2'] as const;
const IDLE = 'touch /tmp/ready; sleep 3600';

describe('access modes', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'modes');
    await cluster.apply([storageClass('modes', { pool: 'lvm' }, 'Immediate')]);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'pv', 'modes-readonly', '--ignore-not-found']);
    await cluster?.kubectl(['delete', 'aoev', 'modes-readonly', '--ignore-not-found', '--timeout=60s']);
    await cluster?.kubectl(['delete', 'storageclass', 'modes', '--ignore-not-found']);
  });

  const kernelDisk = (address: string) => `/dev/etherd/${address}`;

  it('Shared: two nodes at once, no lock, and a cluster filesystem keeps both right', async () => {
    await ns.apply([
      claim('shared', { storageClass: 'modes', accessMode: 'ReadWriteMany', volumeMode: 'Block', size: '256Mi' }),
      ...NODES.map((node) => pod(`shared-${node}`, { claim: 'shared', node, script: IDLE, block: true })),
    ]);
    for (const node of NODES) await ns.ready(`shared-${node}`);
    const volume = await ns.volumeOf('shared');
    const both = [...NODES].sort().join();
    const { status } = await cluster.volumeUntil(volume, `initiators ${both}`, (now) => now.status.initiators?.nodes?.join() === both);
    expect(status.holder).toBeUndefined();
    await cluster.condition(volume, 'Locked', { reason: 'Shared' });
    const files = new Ocfs2(cluster, NODES, kernelDisk(status.address));
    try {
      await files.up();
      // Both append to one file under the cluster's locks; each line must be there once, and whole.
      const lines = 40;
      const append = (node: string) =>
        cluster
          .guest(node)
          .exec(
            `for i in $(seq ${lines}); do flock ${Ocfs2.DIRECTORY}/lock sh -c "echo '${node} '$i >> ${Ocfs2.DIRECTORY}/log"; done; sync`,
            { timeoutMs: 120_000 },
          );
      await Promise.all(NODES.map(append));
      const seen = await Promise.all(NODES.map((node) => cluster.guest(node).exec(`cat ${Ocfs2.DIRECTORY}/log`)));
      expect(seen[0]).toBe(seen[1]);
      const expected = NODES.flatMap((node) => Array.from({ length: lines }, (_, i) => `${node} ${i + 1}`));
      expect(seen[0]?.trim().split('\n').sort()).toStrictEqual(expected.sort());
    } finally {
      await files.down();
    }
    const check = await cluster.guest(NODES[0]).exec(`fsck.ocfs2 -fn ${kernelDisk(status.address)} 2>&1 || true`);
    expect(check).toMatch(/All passes succeeded|clean/);
    for (const node of NODES) await ns.kubectl('delete', 'pod', `shared-${node}`);
  });

  it('ReadOnlyMany: filled while Exclusive, then read by two nodes and written by nobody', async () => {
    await cluster.apply([
      aoeVolume('modes-readonly', { pool: 'lvm', capacity: '64Mi' }),
      staticVolume('modes-readonly', { volume: 'modes-readonly', fsType: 'ext4' }),
    ]);
    await ns.apply([
      claim('fill', { storageClass: '', volumeName: 'modes-readonly' }),
      pod('filler', { claim: 'fill', node: 'worker-1', script: 'echo content > /data/file; sync; touch /tmp/ready; sleep 3600' }),
    ]);
    await ns.ready('filler');
    const readOnly = ['patch', 'aoev', 'modes-readonly', '--type=merge', '-p', '{"spec":{"access":"ReadOnlyMany"}}'];
    await expect(cluster.kubectl(readOnly)).rejects.toThrow(/access can be changed only while spec\.initiators is empty/);
    await ns.kubectl('delete', 'pod', 'filler');
    await ns.kubectl('delete', 'pvc', 'fill');
    await cluster.kubectl(['delete', 'pv', 'modes-readonly']);
    await cluster.poll(async () => cluster.kubectl(readOnly).catch(() => undefined), {
      timeoutMs: 60_000,
      what: 'the volume to be detached',
    });

    await cluster.apply([staticVolume('modes-readonly', { volume: 'modes-readonly', fsType: 'ext4', accessMode: 'ReadOnlyMany' })]);
    await ns.apply([
      claim('read', { storageClass: '', volumeName: 'modes-readonly', accessMode: 'ReadOnlyMany' }),
      ...NODES.map((node) => pod(`reader-${node}`, { claim: 'read', node, script: 'cat /data/file && touch /tmp/ready; sleep 3600' })),
    ]);
    for (const node of NODES) {
      await ns.ready(`reader-${node}`);
      expect(await ns.said(`reader-${node}`)).toBe('content');
    }
    await cluster.condition('modes-readonly', 'Locked', { reason: 'ReadOnly' });
    const { status } = await cluster.getJson('aoev', 'modes-readonly');
    // Past the filesystem, with root's hands on the disk itself: it is the target that refuses.
    const write = `dd if=/dev/zero of=${kernelDisk(status.address)} bs=4k count=1 seek=100 oflag=direct conv=notrunc 2>&1 || true`;
    for (const node of NODES) {
      const said = await cluster.guest(node).exec(`blockdev --setrw ${kernelDisk(status.address)}; ${write}`);
      expect(said).toMatch(/Input\/output error|Operation not permitted|Read-only/);
    }
    for (const node of NODES) await ns.kubectl('delete', 'pod', `reader-${node}`);
  });
});
