import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { longTest } from './long.ts';
import { Namespace } from './namespace.ts';

describe('the test bed', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'testbed');
  });
  afterAll(async () => {
    await cluster?.restore();
    await ns?.delete();
  });

  const bootId = async (node: string) => (await cluster.getJson('node', node)).status.nodeInfo.bootID;
  const run = (name: string, node: string, script: string) =>
    ns.apply([
      {
        metadata: { name },
        ...{ apiVersion: 'v1', kind: 'Pod' },
        spec: {
          nodeName: node,
          restartPolicy: 'Never',
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image: 'docker.io/library/busybox:testbed', command: ['/bin/sh', '-c', script] }],
        },
      } as { metadata: object },
    ]);
  const succeeded = (name: string) => ns.kubectl('wait', 'pod', name, '--for=jsonpath={.status.phase}=Succeeded', '--timeout=120s');

  it('has three nodes that are Ready, two of them for storage', async () => {
    await cluster.waitNodesReady();
    const storage = await cluster.kubectl(['get', 'nodes', '-l', 'aoe.dev/storage=true', '-o', 'jsonpath={.items[*].metadata.name}']);
    expect(storage).toBe('storage-1 storage-2');
  });

  it('runs pods, which reach the API server', async () => {
    const script = 'for i in 1 2 3 4 5; do nc -w 5 10.96.0.1 443 </dev/null && echo "from $HOSTNAME" && exit; sleep 1; done; exit 1';
    await run('hello', 'worker-1', script);
    await succeeded('hello');
    expect(await ns.said('hello')).toBe('from hello');
  });

  it('has the kernel’s driver on every node, and a volume group with a thin pool on the storage nodes', async () => {
    for (const node of ['storage-1', 'storage-2', 'worker-1']) await cluster.guest(node).exec('modprobe aoe; test -c /dev/etherd/discover');
    for (const node of ['storage-1', 'storage-2'])
      expect(await cluster.guest(node).exec('lvs --noheadings -o lv_name,segtype vg0')).toMatch(/thin +thin-pool/);
  });

  it('reports how a command in a guest failed', async () => {
    await expect(cluster.guest('worker-1').exec('echo said; echo why >&2; exit 7')).rejects.toThrow(/ended with 7\nsaid\nwhy/);
    await expect(cluster.guest('worker-1').exec('sleep 60', { timeoutMs: 300 })).rejects.toThrow(/ended with 137/);
  });

  it('stops a guest and lets it go on', async () => {
    const guest = cluster.guest('worker-1');
    await guest.pause();
    const answer = guest.exec('cat /proc/sys/kernel/hostname');
    expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 500, 'nothing'))])).toBe('nothing');
    await guest.resume();
    expect(await answer).toBe('worker-1\n');
  });

  longTest('crashes a node and boots it again, with the disks it had', async () => {
    const guest = cluster.guest('storage-2');
    const before = await bootId('storage-2');
    const uuid = await guest.exec('vgs --noheadings -o vg_uuid vg0; sync');
    await guest.crash();
    await expect(guest.exec('true')).rejects.toThrow(/storage-2 is not running/);
    await cluster.reboot('storage-2');
    await cluster.poll(async () => ((await bootId('storage-2')) === before ? undefined : true), {
      timeoutMs: 60_000,
      what: 'storage-2 to report its new boot',
    });
    await cluster.waitNodesReady();
    expect(await guest.exec('vgs --noheadings -o vg_uuid vg0; sync')).toBe(uuid);
    await run('again', 'storage-2', 'true');
    await succeeded('again');
    // The next test needs our programs on that node, too.
    await cluster.rolledOut(NAMESPACE);
  });
});
