import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

const WORKER = 'worker-1';
const IDLE = 'touch /tmp/ready; sleep 3600';
const SICK = ['e2e-sick-1', 'e2e-sick-2'] as const;
const WELL = 'e2e-well';

/** Disks whose target answers, and whose data never comes: a suspended logical volume, or a hard disk that dies. */
describe('disks that hang', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'sick');
    const volumes = [...SICK, WELL];
    const nodeOf = (name: string) => (name === WELL ? 'storage-2' : 'storage-1');
    await cluster.apply(volumes.map((name) => aoeVolume(name, { capacity: '64Mi', pool: 'lvm', nodeName: nodeOf(name) })));
    await cluster.apply(volumes.map((name) => staticVolume(name, { volume: name, fsType: 'ext4' })));
    await ns.apply(volumes.map((name) => claim(name, { storageClass: '', volumeName: name })));
    for (const name of volumes) await cluster.kubectl(['wait', 'aoev', name, '--for=condition=Ready', '--timeout=40s']);
  });
  afterAll(async () => {
    if (!cluster) return;
    await forSick('resume');
    await ns?.delete();
    await cluster.kubectl(['delete', 'pv', ...SICK, WELL, '--ignore-not-found']);
    await cluster.kubectl(['delete', 'aoev', ...SICK, WELL, '--ignore-not-found', '--timeout=60s']);
  });

  const forSick = async (what: 'suspend' | 'resume') => {
    for (const name of SICK) {
      const { uid } = (await cluster.getJson('aoev', name)).metadata as { uid: string };
      await cluster.guest('storage-1').exec(`dmsetup ${what} 'vg0-aoe--${uid.replaceAll('-', '--')}'`);
    }
  };

  it('do not keep a healthy volume of the same node from being staged and unstaged, and work again when their data comes', async () => {
    await forSick('suspend');
    await ns.apply(SICK.map((name) => pod(name, { claim: name, node: WORKER, script: IDLE })));
    const hung = `pgrep -fc '/dev/etherd/(${(await Promise.all(SICK.map(async (name) => (await cluster.getJson('aoev', name)).status.address))).join('|')})' || true`;
    await cluster.poll(async () => (Number((await cluster.guest(WORKER).exec(hung)).trim()) >= SICK.length ? true : undefined), {
      timeoutMs: 40_000,
      what: 'programs that wait for the suspended disks',
      explain: () => ns.kubectl('get', 'events'),
    });

    await ns.apply([pod('well', { claim: WELL, node: WORKER, script: IDLE })]);
    await ns.ready('well', 30_000);
    await ns.kubectl('delete', 'pod', 'well', '--timeout=30s');
    const { address } = (await cluster.getJson('aoev', WELL)).status;
    await cluster.guest(WORKER).exec(`timeout 30 sh -c "while [ -e '/sys/block/etherd!${address}' ]; do sleep 0.2; done"`);

    await forSick('resume');
    for (const name of SICK) await ns.ready(name, 90_000);
  });
});
