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
    for (const kind of ['pv', 'aoev'])
      await cluster?.kubectl(['delete', kind, 'e2e-restored-snap', 'e2e-restored-thick', '--ignore-not-found', '--wait=false']);
    await cluster?.kubectl(['delete', 'aoesnapshots', '--all', '--timeout=60s']);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'snapshot-thin', 'snapshot-lvm', '--ignore-not-found']);
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
  /** What a pod with the writer has on stable storage for certain: a number can be read a moment before it is there, and the next one not. */
  const stable = async (written: () => Promise<number>): Promise<number> => {
    const number = await cluster.poll(async () => (await written().catch(() => 0)) || undefined, {
      timeoutMs: 30_000,
      what: 'a first write',
    });
    await cluster.poll(async () => ((await written()) > number + 2 ? true : undefined), { timeoutMs: 30_000, what: 'some writes' });
    return number;
  };
  const reasonOf = async (name: string): Promise<string> => {
    const { status } = await cluster.getJson('aoesnapshot', name);
    return status?.conditions?.find(({ type }: { type: string }) => type === 'Ready')?.reason ?? '';
  };

  it('are taken of a volume in use, hold a state that the file system recovers, and outlive the volume', async () => {
    await ns.apply([claim('data', { storageClass: 'snapshot-thin' }), pod('writer', { claim: 'data', script: WRITER })]);
    await ns.ready('writer');
    const volume = await ns.bound('data');
    const written = async (): Promise<number> => Number((await ns.kubectl('exec', 'writer', '--', 'cat', '/data/n')).trim());
    const before = await stable(written);
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

  it('of a thick volume are copied before they can be used; it grows after that, and another thick volume is made of one', async () => {
    await cluster.apply([storageClass('snapshot-lvm', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('thick', { storageClass: 'snapshot-lvm' }), pod('thick-writer', { claim: 'thick', script: WRITER })]);
    await ns.ready('thick-writer', 90_000);
    const volume = await ns.bound('thick');
    const number = async (of: string): Promise<number> => Number((await ns.kubectl('exec', of, '--', 'cat', '/data/n')).trim());
    const before = await stable(() => number('thick-writer'));
    await cluster.apply([aoeSnapshot('e2e-snap-thick', volume), aoeSnapshot('e2e-snap-none', 'nothing')]);
    await cluster.kubectl(['wait', 'aoesnapshot', 'e2e-snap-thick', '--for=jsonpath={.status.createdAt}', '--timeout=60s']);
    await cluster.kubectl(['patch', 'aoev', volume, '--type=merge', '-p', '{"spec":{"capacity":"96Mi"}}']);
    const { nodeName, createdAt, capacity } = await phase('e2e-snap-thick', 'Ready');
    const after = await number('thick-writer');
    expect(capacity).toBe('64Mi');
    expect(await cluster.guest(nodeName).exec('lvs --noheadings -o lv_name vg0')).not.toContain('.cow');
    await cluster.poll(async () => ((await cluster.getJson('aoev', volume)).status.capacity === '96Mi' ? true : undefined), {
      timeoutMs: 60_000,
      what: 'the volume to grow',
    });
    await phase('e2e-snap-none', 'Failed');
    expect(await reasonOf('e2e-snap-none')).toBe('VolumeNotFound');

    const source = { snapshot: 'e2e-snap-thick' };
    await cluster.apply([
      aoeVolume('e2e-restored-thick', { capacity: '64Mi', pool: 'lvm', source }),
      staticVolume('e2e-restored-thick', { volume: 'e2e-restored-thick', size: '64Mi', fsType: 'ext4' }),
    ]);
    const options = { storageClass: '', volumeName: 'e2e-restored-thick', size: '64Mi' };
    await ns.apply([
      claim('restored-thick', options),
      pod('thick-reader', { claim: 'restored-thick', script: 'touch /tmp/ready; sleep 1d' }),
    ]);
    await ns.ready('thick-reader', 90_000);
    const restored = await number('thick-reader');
    expect(restored).toBeGreaterThanOrEqual(before);
    expect(restored).toBeLessThanOrEqual(after);
    expect((await cluster.getJson('aoesnapshot', 'e2e-snap-thick')).status.createdAt).toBe(createdAt);

    await ns.kubectl('delete', 'pod', 'thick-writer', 'thick-reader', '--grace-period=0', '--wait=true');
    await cluster.kubectl(['delete', 'aoesnapshot', 'e2e-snap-thick', 'e2e-snap-none', '--timeout=60s']);
    await ns.kubectl('delete', 'pvc', 'thick', 'restored-thick', '--timeout=60s');
    await cluster.kubectl(['delete', 'pv', 'e2e-restored-thick', '--timeout=60s']);
    await cluster.kubectl(['delete', 'aoev', 'e2e-restored-thick', '--timeout=60s']);
    await cluster.kubectl(['delete', 'storageclass', 'snapshot-lvm']);
    expect(await cluster.guest(nodeName).exec('lvs --noheadings -o lv_name vg0')).not.toContain('aoe-snap-');
    for (const pool of ['lvm', 'thin']) {
      const { status } = await cluster.getJson('aoepool', pool);
      expect(
        status.nodes.every(({ snapshots }: { snapshots: { possible: boolean } }) => snapshots.possible),
        pool,
      ).toBe(true);
    }
  });
});
