import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

const LABEL = 'e2e.aoe.dev/look';

interface Entry {
  ready: boolean;
  message?: string;
  sharedWith?: string[];
}

/** One part of a storage node is in trouble: its other parts go on. */
describe('a storage node in trouble', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'rough');
  });
  afterAll(async () => {
    await ns?.delete();
    const objects = ['pv/e2e-rough', 'aoev/e2e-rough', 'aoev/e2e-rough-dir', 'aoev/e2e-rough-next', 'aoep/e2e-rough'];
    await cluster?.kubectl(['delete', ...objects, '--ignore-not-found', '--timeout=60s']);
    for (const node of ['storage-1', 'storage-2']) await cluster?.kubectl(['label', 'node', node, `${LABEL}-`]);
  });

  let looks = 0;
  /** Lets the agent of a node measure its pools until one of them is as expected, and gives its entry. */
  const poolEntry = (pool: string, node: string, isExpected: (entry: Entry) => boolean) =>
    cluster.poll(
      async () => {
        // A pool is measured again when a label of its node changes.
        await cluster.kubectl(['label', 'node', node, '--overwrite', `${LABEL}=${++looks}`]);
        const { status } = await cluster.getJson('aoep', pool);
        const entry = status?.nodes?.find(({ name }: { name: string }) => name === node);
        return entry && isExpected(entry) ? (entry as Entry) : undefined;
      },
      {
        timeoutMs: 60_000,
        what: `another state of pool ${pool} on ${node}`,
        explain: () => cluster.kubectl(['get', 'aoep', pool, '-o', 'yaml']),
      },
    );
  const isReady = (entry: Entry) => entry.ready;
  const ready = (volume: string) => cluster.kubectl(['wait', 'aoev', volume, '--for=jsonpath={.status.phase}=Ready', '--timeout=40s']);

  it('LVM waits for a disk that hangs: one command hangs, the pools say so, volumes are served, and all is well once the disk answers', async () => {
    const storage = cluster.guest('storage-1');
    await cluster.apply([aoeVolume('e2e-rough', { capacity: '16Mi', pool: 'lvm', nodeName: 'storage-1' })]);
    await ready('e2e-rough');
    const script = 'touch /tmp/ready; while :; do n=$((n+1)); echo $n >/data/n && sync && echo $n >/tmp/n; sleep 0.2; done';
    await cluster.apply([staticVolume('e2e-rough', { volume: 'e2e-rough', size: '16Mi' })]);
    const { metadata, ...rest } = claim('rough', { size: '16Mi', volumeName: 'e2e-rough', storageClass: '' });
    await ns.apply([{ metadata, ...rest }, pod('writer', { claim: 'rough', node: 'worker-1', script })]);
    await ns.ready('writer', 60_000);
    const written = async () => Number(await ns.kubectl('exec', 'writer', '--', 'cat', '/tmp/n'));

    await storage.exec("dmsetup create e2e-bad --table '0 8192 zero' && dmsetup suspend e2e-bad");
    try {
      for (const pool of ['lvm', 'thin']) {
        const { message } = await poolEntry(pool, 'storage-1', (entry) => !isReady(entry));
        expect(message).toMatch(/volume group vg0: command "vgs .*hangs and cannot be killed.*dmsetup info/);
      }
      expect((await storage.exec('pgrep -x vgs | wc -l')).trim()).toBe('1');
      await poolEntry('default', 'storage-1', isReady);
      const before = await written();
      await cluster.poll(async () => (await written()) > before + 3 || undefined, { timeoutMs: 20_000, what: 'writes to go on' });
    } finally {
      await storage.exec('dmsetup resume e2e-bad; dmsetup remove --retry e2e-bad');
    }
    for (const pool of ['lvm', 'thin']) await poolEntry(pool, 'storage-1', isReady);
    expect((await storage.exec('pgrep -x vgs | wc -l')).trim()).not.toBe('1');
    await ns.kubectl('delete', 'pod', 'writer');
  });

  it('the directory of a pool is missing on one node: other pools are used there, and this pool on other nodes', async () => {
    const directory = '/var/lib/aoe-csi/pools/e2e-rough';
    const storage = cluster.guest('storage-2');
    const spec = { backend: 'file', directory };
    await cluster.apply([{ apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name: 'e2e-rough' }, spec }]);
    await poolEntry('e2e-rough', 'storage-2', isReady);
    await cluster.apply([aoeVolume('e2e-rough-dir', { capacity: '16Mi', pool: 'e2e-rough', nodeName: 'storage-2' })]);
    await ready('e2e-rough-dir');
    await storage.exec(`mv ${directory} ${directory}.away`);
    try {
      const { message } = await poolEntry('e2e-rough', 'storage-2', (entry) => !isReady(entry));
      expect(message).toMatch(/is its file system mounted\?/);
      await poolEntry('default', 'storage-2', isReady);
      await cluster.apply([aoeVolume('e2e-rough-next', { capacity: '16Mi', pool: 'e2e-rough' })]);
      await ready('e2e-rough-next');
      expect((await cluster.getJson('aoev', 'e2e-rough-next')).spec.nodeName).toBe('storage-1');
    } finally {
      await storage.exec(`rm -rf ${directory}; mv ${directory}.away ${directory}`);
    }
    const { sharedWith } = await poolEntry('e2e-rough', 'storage-2', isReady);
    expect(sharedWith).toStrictEqual(['default']);
    await ready('e2e-rough-dir');
  });
});
