import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

const WORKER = 'worker-1';
const IDLE = 'touch /tmp/ready; sleep 3600';
const SICK = ['e2e-sick-1', 'e2e-sick-2'] as const;
const WELL = 'e2e-well';
const SIZE = '16Mi';

/** Disks whose target answers, and whose data never comes: a suspended logical volume, or a hard disk that dies. */
describe('disks that hang', () => {
  let cluster: Cluster;
  let ns: Namespace;
  /** Device-mapper names of the logical volumes of the sick ones. */
  const logicalVolumes: string[] = [];
  /** Addresses of the sick ones. */
  const addresses: string[] = [];
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'sick');
    const volumes = [...SICK, WELL];
    const nodeOf = (name: string) => (name === WELL ? 'storage-2' : 'storage-1');
    await cluster.apply(volumes.map((name) => aoeVolume(name, { capacity: SIZE, pool: 'lvm', nodeName: nodeOf(name) })));
    await cluster.apply(volumes.map((name) => staticVolume(name, { volume: name, size: SIZE, fsType: 'ext4' })));
    await ns.apply(volumes.map((name) => claim(name, { size: SIZE, storageClass: '', volumeName: name })));
    for (const name of volumes) await cluster.kubectl(['wait', 'aoev', name, '--for=condition=Ready', '--timeout=60s']);
    for (const name of SICK) {
      const { metadata, status } = await cluster.getJson('aoev', name);
      logicalVolumes.push(`vg0-aoe--${metadata.uid.replaceAll('-', '--')}`);
      addresses.push(status.address);
    }
  });
  afterAll(async () => {
    if (!cluster) return;
    await forSick('resume');
    await ns?.delete();
    await cluster.kubectl(['delete', 'pv', ...SICK, WELL, '--ignore-not-found']);
    await cluster.kubectl(['delete', 'aoev', ...SICK, WELL, '--ignore-not-found', '--timeout=60s']);
  });

  const forSick = async (what: 'suspend' | 'resume') => {
    for (const name of logicalVolumes) await cluster.guest('storage-1').exec(`dmsetup ${what} '${name}'`);
  };

  /** What the node plugin says, and which processes wait in the kernel. */
  const story = async () => {
    const select = ['-l', 'app.kubernetes.io/component=node', '--field-selector', `spec.nodeName=${WORKER}`];
    const name = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pod', ...select, '-o', 'name']);
    const log = await cluster.kubectl(['-n', NAMESPACE, 'logs', name.trim(), '--tail=60']);
    return `${log}\n${await cluster.guest(WORKER).exec("ps axo pid,stat,args | awk '$2 ~ /D/'")}`;
  };
  const held = (what: string) => async (cause: unknown) => {
    throw new Error(`${what}; the node plugin:\n${await story()}`, { cause });
  };

  it('do not keep a healthy volume of the same node from being staged and unstaged, and work again when their data comes', async () => {
    await forSick('suspend');
    await ns.apply(SICK.map((name) => pod(name, { claim: name, node: WORKER, script: IDLE })));
    for (const address of addresses) {
      const waiting = `pgrep -fc '/dev/etherd/${address}( |$)' || true`;
      await cluster.poll(async () => Number(await cluster.guest(WORKER).exec(waiting)) > 0 || undefined, {
        timeoutMs: 40_000,
        what: `a program that waits for disk ${address}`,
        explain: () => ns.kubectl('get', 'events'),
      });
    }

    await ns.apply([pod('well', { claim: WELL, node: WORKER, script: IDLE })]);
    // Less than the call of a sick disk may take: a node plugin that does one after the other would be seen.
    await ns.ready('well', 100_000, { exact: true }).catch(held('the healthy volume is not staged'));
    await ns.kubectl('delete', 'pod', 'well', '--timeout=30s');
    // The kernel cannot remove the disk now, but nobody uses it: the lock is released, and another node may have the volume.
    const isFree = async () => {
      const { spec, status } = await cluster.getJson('aoev', WELL);
      return (spec.initiators?.nodes === undefined && status.holder === undefined) || undefined;
    };
    await cluster.poll(isFree, { timeoutMs: 40_000, what: `${WELL} to be unstaged and detached`, explain: story });

    await forSick('resume');
    for (const name of SICK) await ns.ready(name, 90_000).catch(held(`${name} is not staged`));
    await ns.kubectl('delete', 'pod', ...SICK, '--now');
  });
});
