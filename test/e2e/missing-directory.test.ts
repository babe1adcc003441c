import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume } from './manifests.ts';

const LABEL = 'e2e.aoe.dev/look';

interface Entry {
  ready: boolean;
  message?: string;
  sharedWith?: string[];
}

/** One pool of a storage node is in trouble: the others go on. */
describe('a storage node with a pool in trouble', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.attach();
  });
  afterAll(async () => {
    const objects = ['aoev/e2e-missing-dir', 'aoev/e2e-missing-next', 'aoep/e2e-missing'];
    await cluster?.kubectl(['delete', ...objects, '--ignore-not-found', '--timeout=60s']);
    await cluster?.kubectl(['label', 'node', 'storage-2', `${LABEL}-`]);
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

  it('the directory of a pool is missing on one node: other pools are used there, and this pool on other nodes', async () => {
    const directory = '/var/lib/aoe-csi/pools/e2e-missing';
    const storage = cluster.guest('storage-2');
    const spec = { backend: 'file', directory };
    await cluster.apply([{ apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name: 'e2e-missing' }, spec }]);
    await poolEntry('e2e-missing', 'storage-2', isReady);
    await cluster.apply([aoeVolume('e2e-missing-dir', { capacity: '16Mi', pool: 'e2e-missing', nodeName: 'storage-2' })]);
    await ready('e2e-missing-dir');
    await storage.exec(`mv ${directory} ${directory}.away`);
    try {
      const { message } = await poolEntry('e2e-missing', 'storage-2', (entry) => !isReady(entry));
      expect(message).toMatch(/is its file system mounted\?/);
      await poolEntry('default', 'storage-2', isReady);
      await cluster.apply([aoeVolume('e2e-missing-next', { capacity: '16Mi', pool: 'e2e-missing' })]);
      await ready('e2e-missing-next');
      expect((await cluster.getJson('aoev', 'e2e-missing-next')).spec.nodeName).toBe('storage-1');
    } finally {
      await storage.exec(`rm -rf ${directory}; mv ${directory}.away ${directory}`);
    }
    const { sharedWith } = await poolEntry('e2e-missing', 'storage-2', isReady);
    expect(sharedWith).toStrictEqual(['default']);
    await ready('e2e-missing-dir');
  });
});
