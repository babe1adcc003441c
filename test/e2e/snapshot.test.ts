import { Cluster } from '../testbed/cluster.ts';
import { aoeSnapshot, aoeVolume, claim, pod, staticVolume, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** Writes numbers for as long as the pod runs, each on stable storage before the next. */
const WRITER = `
touch /tmp/ready
n=0
while true; do n=$((n+1)); echo $n > /data/new; sync; mv /data/new /data/n; sync; done`;

describe('snapshots', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'snapshot');
    await cluster.apply([storageClass('snapshot-thin', { pool: 'thin' }, 'Immediate')]);
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'pv', 'e2e-restored-snap', '--ignore-not-found', '--wait=false']);
    await cluster?.kubectl(['delete', 'aoev', 'e2e-restored-snap', '--ignore-not-found', '--wait=false']);
    await cluster?.kubectl(['delete', 'aoesnapshots', '--all', '--timeout=60s']);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'snapshot-thin', '--ignore-not-found']);
  });

  const phase = (name: string, wanted: string) =>
    cluster.poll(
      async () => {
        const { status } = await cluster.getJson('aoesnapshot', name);
        return status?.phase === wanted ? (status as { nodeName: string; createdAt: string; capacity: string }) : undefined;
      },
      {
        timeoutMs: 60_000,
        what: `phase ${wanted} of snapshot ${name}`,
        explain: () => cluster.kubectl(['get', 'aoesnapshot', name, '-o', 'yaml']),
      },
    );
  const reasonOf = async (name: string): Promise<string> => {
    const { status } = await cluster.getJson('aoesnapshot', name);
    return status?.conditions?.find(({ type }: { type: string }) => type === 'Ready')?.reason ?? '';
  };

  it('are taken of a volume in use, hold a state that the file system recovers, and outlive the volume', async () => {
    await ns.apply([claim('data', { storageClass: 'snapshot-thin' }), pod('writer', { claim: 'data', script: WRITER })]);
    await ns.ready('writer');
    const volume = await ns.bound('data');
    const written = async (): Promise<number> => Number((await ns.kubectl('exec', 'writer', '--', 'cat', '/data/n')).trim());
    await cluster.poll(async () => ((await written().catch(() => 0)) > 3 ? true : undefined), { timeoutMs: 30_000, what: 'some writes' });
    const before = await written();
    await cluster.apply([aoeSnapshot('e2e-snap-1', volume)]);
    const { nodeName, capacity } = await phase('e2e-snap-1', 'Ready');
    const after = await written();
    expect(capacity).toBe('64Mi');

    // The writer goes on after the hold.
    await cluster.poll(async () => ((await written()) > after ? true : undefined), { timeoutMs: 30_000, what: 'the writer to go on' });
    await ns.kubectl('delete', 'pod', 'writer', '--grace-period=0', '--wait=true');
    await ns.kubectl('delete', 'pvc', 'data', '--timeout=60s');
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=60s']);
    expect((await cluster.getJson('aoesnapshot', 'e2e-snap-1')).status.phase).toBe('Ready');

    // A larger volume is made of it, mounted elsewhere, and independent of it.
    const source = { snapshot: 'e2e-snap-1' };
    await cluster.apply([
      aoeVolume('e2e-restored-snap', { capacity: '96Mi', pool: 'thin', source }),
      staticVolume('e2e-restored-snap', { volume: 'e2e-restored-snap', size: '96Mi', fsType: 'ext4' }),
    ]);
    const options = { storageClass: '', volumeName: 'e2e-restored-snap', size: '96Mi' };
    await ns.apply([claim('restored', options), pod('reader', { claim: 'restored', script: 'touch /tmp/ready; sleep 1d' })]);
    await ns.ready('reader', 90_000);
    const number = Number((await ns.kubectl('exec', 'reader', '--', 'cat', '/data/n')).trim());
    expect(number).toBeGreaterThanOrEqual(before);
    expect(number).toBeLessThanOrEqual(after);
    const restored = await cluster.getJson('aoev', 'e2e-restored-snap');
    expect([restored.spec.nodeName, restored.status.capacity]).toStrictEqual([nodeName, '96Mi']);
    await ns.kubectl('exec', 'reader', '--', 'sh', '-c', 'echo more > /data/more && sync');

    await cluster.kubectl(['delete', 'aoesnapshot', 'e2e-snap-1', '--timeout=60s']);
    expect((await ns.kubectl('exec', 'reader', '--', 'cat', '/data/more')).trim()).toBe('more');
    await ns.kubectl('delete', 'pod', 'reader', '--grace-period=0', '--wait=true');
    await ns.kubectl('delete', 'pvc', 'restored', '--timeout=60s');
    await cluster.kubectl(['delete', 'pv', 'e2e-restored-snap', '--timeout=60s']);
    await cluster.kubectl(['delete', 'aoev', 'e2e-restored-snap', '--timeout=60s']);
    expect(await cluster.guest(nodeName).exec('lvs --noheadings -o lv_name vg0')).not.toContain('aoe-snap-');
  });

  it('are refused with a reason where a pool cannot take them, and of a volume that does not exist', async () => {
    await cluster.apply([storageClass('snapshot-lvm', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('thick', { storageClass: 'snapshot-lvm' })]);
    const volume = await ns.bound('thick');
    await cluster.apply([aoeSnapshot('e2e-snap-lvm', volume), aoeSnapshot('e2e-snap-none', 'nothing')]);
    await phase('e2e-snap-lvm', 'Failed');
    await phase('e2e-snap-none', 'Failed');
    expect([await reasonOf('e2e-snap-lvm'), await reasonOf('e2e-snap-none')]).toStrictEqual(['SnapshotsUnsupported', 'VolumeNotFound']);
    await cluster.kubectl(['delete', 'aoesnapshot', 'e2e-snap-lvm', 'e2e-snap-none', '--timeout=30s']);
    await cluster.kubectl(['delete', 'storageclass', 'snapshot-lvm']);
    const { status } = await cluster.getJson('aoepool', 'lvm');
    expect(status.nodes.every(({ snapshots }: { snapshots: { possible: boolean } }) => !snapshots.possible)).toBe(true);
    const thin = await cluster.getJson('aoepool', 'thin');
    expect(thin.status.nodes.every(({ snapshots }: { snapshots: { possible: boolean } }) => snapshots.possible)).toBe(true);
  });
});
