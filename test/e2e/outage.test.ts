import { Cluster } from '../testbed/cluster.ts';
import { installChart } from '../testbed/install.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const WORKER = 'worker-1';
const NODES = ['storage-1', 'storage-2', WORKER] as const;
const DEAD_SECONDS = 10;
const PARAMETER = '/sys/module/aoe/parameters/aoe_deadsecs';
/** Each writes all the time, and goes on after an error. The file is on the disk when the pod is ready. The raw disk is kept open meanwhile. */
const FILE_WRITER = 'echo x >> /data/load && sync && touch /tmp/ready; while true; do echo x >> /data/load && sync; usleep 100000; done';
const DISK_WRITER =
  'exec 3<>/dev/data; touch /tmp/ready; while true; do dd if=/dev/zero of=/dev/data bs=4k count=1 conv=fsync,notrunc 2>/dev/null; usleep 100000; done';

/** A target that does not answer for longer than aoe_deadsecs: an ordinary event, from which nodes must recover. */
describe('a target that is silent for longer than aoe_deadsecs', () => {
  let cluster: Cluster;
  let ns: Namespace;
  /** Address of the disk of each claim. */
  const addresses: Record<string, string> = {};
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'outage');
    await cluster.apply([storageClass('outage', { pool: 'lvm' }, 'Immediate')]);
  });
  afterAll(async () => {
    for (const node of NODES) cluster?.guest(node).setStorageLink('up');
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'outage', '--ignore-not-found']);
    // The plugin leaves a parameter that is not given as it is.
    if (cluster) await installChart(cluster);
    for (const node of NODES) await cluster?.guest(node).exec(`echo 180 > ${PARAMETER}`);
  });

  const stateOf = (name: string) => cluster.guest(WORKER).exec(`cat '/sys/block/etherd!${addresses[name]}/state' || true`);
  const becomes = (name: string, state: string, timeoutMs: number) =>
    cluster.poll(async () => ((await stateOf(name)).trim() === state ? true : undefined), {
      timeoutMs,
      what: `the disk of ${name} to be "${state}"`,
      explain: () => cluster.guest(WORKER).exec('dmesg | tail -n 20'),
    });
  /** Those of our volumes of which the metric says that their disks are down. */
  const down = async (names: readonly string[]) => {
    const text = await cluster
      .guest(WORKER)
      .exec('curl -sf http://127.0.0.1:9810/metrics > /tmp/metrics; grep ^aoe_csi_node_disk_down_seconds /tmp/metrics || true');
    const volumes = await Promise.all(names.map((name) => ns.volumeOf(name)));
    return names.filter((_name, index) => text.includes(`volume="${volumes[index]}"`));
  };
  const downAre = (expected: readonly string[]) =>
    cluster.poll(async () => ((await down(['file', 'disk'])).join() === expected.join() ? true : undefined), {
      timeoutMs: 30_000,
      what: `the metric to name the disks ${expected.join() || '(none)'}`,
      explain: async () => (await down(['file', 'disk'])).join(),
    });
  const writes = (name: string, command: string) => ns.kubectl('exec', name, '--', 'timeout', '60', 'sh', '-c', command);

  it('node.module.parameters of the chart have effect on every node', async () => {
    await installChart(cluster, { node: { module: { parameters: { aoe_deadsecs: DEAD_SECONDS } } } });
    for (const node of NODES) {
      await cluster.poll(
        async () => ((await cluster.guest(node).exec(`cat ${PARAMETER}`)).trim() === `${DEAD_SECONDS}` ? true : undefined),
        {
          timeoutMs: 30_000,
          what: `aoe_deadsecs of ${node} to be ${DEAD_SECONDS}`,
        },
      );
    }
  });

  it('has its disks down, and events and a metric say so', async () => {
    await ns.apply([
      claim('file', { storageClass: 'outage' }),
      claim('disk', { storageClass: 'outage', volumeMode: 'Block' }),
      pod('file', { claim: 'file', node: WORKER, script: FILE_WRITER }),
      pod('disk', { claim: 'disk', node: WORKER, script: DISK_WRITER, block: true }),
    ]);
    for (const name of ['file', 'disk']) {
      await ns.ready(name);
      addresses[name] = (await cluster.getJson('aoev', await ns.volumeOf(name))).status.address;
    }
    for (const node of ['storage-1', 'storage-2']) cluster.guest(node).setStorageLink('down');
    for (const name of ['file', 'disk']) await becomes(name, 'down,closewait', 40_000);
    for (const name of ['file', 'disk']) await ns.event(name, 'DiskDown', /aoe_deadsecs \(10 s\), and it cannot be used yet: /);
    await downAre(['file', 'disk']);
  });

  it('and that is back: the raw disk works again in the same pod, and the mounted file system does not', async () => {
    for (const node of ['storage-1', 'storage-2']) cluster.guest(node).setStorageLink('up');
    await becomes('disk', 'up', 60_000);
    await ns.event('disk', 'DiskRevived', /the raw block device works again/);
    await writes('disk', 'dd if=/dev/zero of=/dev/data bs=4k count=1 conv=fsync,notrunc');
    await ns.event('file', 'RemountNeeded', /delete the pods on this node that use the volume/);
    expect((await stateOf('file')).trim()).toBe('down,closewait');
    await expect(writes('file', 'echo y > /data/new && sync')).rejects.toThrow();
  });

  it('and that is back: a new pod gets the file system checked and mounted, and all is unstaged in the end', async () => {
    await ns.kubectl('delete', 'pod', 'file', '--timeout=60s');
    await ns.apply([
      pod('again', {
        claim: 'file',
        node: WORKER,
        script: 'grep -q x /data/load && touch /data/new && sync && touch /tmp/ready; sleep 999',
      }),
    ]);
    // Until the old pod's mount is gone the new pod waits, and the kubelet tries again after a pause.
    await ns.ready('again', 80_000);
    await downAre([]);
    await ns.kubectl('delete', 'pod', 'again', 'disk', '--timeout=60s');
    const left = `ls /sys/block | grep -cxE 'etherd!(${Object.values(addresses).join('|').replaceAll('.', '[.]')})' || true`;
    await cluster.poll(async () => ((await cluster.guest(WORKER).exec(left)).trim() === '0' ? true : undefined), {
      timeoutMs: 120_000,
      what: `${WORKER} to be rid of the disks`,
      explain: () => cluster.guest(WORKER).exec('ls /sys/block; grep etherd /proc/mounts || true; dmesg | tail -n 20'),
    });
  });
});
