import { parseQuantity } from '../../api/quantity.ts';
import { Cluster } from '../testbed/cluster.ts';
import { longTest } from './long.ts';
import { aoeVolume, claim, pod, storageClass, volumeSnapshot } from './manifests.ts';
import { Namespace } from './namespace.ts';

const IDLE = 'touch /tmp/ready; sleep 1d';
/** Writes numbers for as long as the pod runs, each on stable storage before the next. */
const COUNTER = 'touch /tmp/ready; n=0; while true; do n=$((n+1)); echo $n > /data/new; sync; mv /data/new /data/n; sync; done';
const READY_MS = 120_000;
const MiB = 1 << 20;

/** Snapshots as users of claims have them: VolumeSnapshots, claims of them, and clones. */
describe('VolumeSnapshots', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let before: string[];
  beforeAll(async () => {
    cluster = await Cluster.attach();
    before = await allSnapshots();
    ns = await Namespace.create(cluster, 'vs');
    await cluster.apply([
      storageClass('vs-thin', { pool: 'thin' }, 'Immediate'),
      storageClass('vs-xfs', { pool: 'thin', 'csi.storage.k8s.io/fstype': 'xfs' }),
      storageClass('vs-file', { pool: 'default' }, 'Immediate'),
    ]);
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'aoev', 'e2e-vs-filler', '--ignore-not-found', '--wait=false']);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'vs-thin', 'vs-xfs', 'vs-file', '--ignore-not-found']);
  });

  const inPod = async (name: string, command: string): Promise<string> =>
    (await ns.kubectl('exec', name, '--', 'sh', '-c', command)).trim();
  const statusOf = async (name: string) => JSON.parse(await ns.kubectl('get', 'volumesnapshot', name, '-o', 'json')).status;
  const poll = <T>(what: string, ask: () => Promise<T | undefined>, explain: () => Promise<string>): Promise<T> =>
    cluster.poll(ask, { timeoutMs: READY_MS, what, explain });
  const describeSnapshot = (name: string) => () => ns.kubectl('get', 'volumesnapshot', name, '-o', 'yaml');
  const ready = (name: string): Promise<{ restoreSize: string }> =>
    poll(
      `VolumeSnapshot ${name} to be ready`,
      async () => {
        const status = await statusOf(name);
        return status?.readyToUse ? status : undefined;
      },
      describeSnapshot(name),
    );
  const refusal = (name: string): Promise<string> =>
    poll(`an error of VolumeSnapshot ${name}`, async () => (await statusOf(name))?.error?.message, describeSnapshot(name));
  const from = (name: string) => ({ kind: 'VolumeSnapshot' as const, name });
  /** csi-snapshotter may see a deletion right after Ready only when it looks at all snapshots again, which it does every minute. */
  const deleteSnapshot = (name: string) => ns.kubectl('delete', 'volumesnapshot', name, '--timeout=120s');
  const allSnapshots = async () => (await cluster.kubectl(['get', 'aoesnapshots', '-o', 'name'])).split('\n').filter(Boolean);
  /** AoESnapshots that were not there before these tests. */
  const snapshots = async () => (await allSnapshots()).filter((name) => !before.includes(name));

  it('are taken of a claim in use, and a larger claim of one has its data when the first claim is gone', async () => {
    await ns.apply([claim('data', { storageClass: 'vs-thin' }), pod('writer', { claim: 'data', script: COUNTER })]);
    await ns.ready('writer', READY_MS);
    const volume = await ns.bound('data');
    const written = async (): Promise<number> => Number(await inPod('writer', 'cat /data/n'));
    const before = await cluster.poll(async () => (await written().catch(() => 0)) || undefined, {
      timeoutMs: 60_000,
      what: 'a first write',
    });
    // A number can be read a moment before it is on stable storage, and the next one not.
    await cluster.poll(async () => ((await written()) > before + 2 ? true : undefined), { timeoutMs: 60_000, what: 'some writes' });
    await ns.apply([volumeSnapshot('first', 'data')]);
    expect((await ready('first')).restoreSize).toBe('64Mi');
    const after = await written();
    expect(await cluster.kubectl(['get', 'aoesnapshots', '-o', 'yaml'])).toContain(`aoe.dev/volume-snapshot: ${ns.name}/first`);

    await ns.kubectl('delete', 'pod', 'writer', '--now');
    await ns.kubectl('delete', 'pvc', 'data', '--timeout=60s');
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=60s']);
    await ns.apply([
      claim('larger', { storageClass: 'vs-thin', size: '128Mi', source: from('first') }),
      pod('reader', { claim: 'larger', script: IDLE }),
    ]);
    await ns.ready('reader', READY_MS);
    const number = Number(await inPod('reader', 'cat /data/n'));
    expect(number).toBeGreaterThanOrEqual(before);
    expect(number).toBeLessThanOrEqual(after);
    expect(Number((await inPod('reader', 'df -m /data | tail -n 1')).split(/\s+/)[1])).toBeGreaterThan(100);

    // The snapshot goes while its claim is in use.
    await deleteSnapshot('first');
    expect(await snapshots()).toStrictEqual([]);
    expect(await inPod('reader', 'echo more > /data/more; sync; cat /data/more')).toBe('more');
    await ns.kubectl('delete', 'pod', 'reader', '--now');
    await ns.kubectl('delete', 'pvc', 'larger', '--timeout=60s');
  });

  it('and clones of xfs are mounted beside their source, and are independent of it', async () => {
    const options = { storageClass: 'vs-xfs', size: '320Mi' };
    const node = 'worker-1';
    await ns.apply([claim('xfs', options), pod('source', { claim: 'xfs', node, script: `echo one > /data/file; sync; ${IDLE}` })]);
    await ns.ready('source', READY_MS);
    await ns.apply([volumeSnapshot('of-xfs', 'xfs')]);
    await ready('of-xfs');
    await inPod('source', 'echo two > /data/file; sync');
    await ns.apply([
      claim('twin', { ...options, source: from('of-xfs') }),
      claim('clone', { ...options, source: { kind: 'PersistentVolumeClaim', name: 'xfs' } }),
      pod('twin', { claim: 'twin', node, script: IDLE }),
      pod('clone', { claim: 'clone', node, script: IDLE }),
    ]);
    for (const name of ['twin', 'clone']) await ns.ready(name, READY_MS);
    const read = () => Promise.all(['source', 'twin', 'clone'].map((name) => inPod(name, 'cat /data/file')));
    expect(await read()).toStrictEqual(['two', 'one', 'two']);
    for (const name of ['source', 'twin', 'clone']) await inPod(name, `echo ${name} > /data/file; sync`);
    expect(await read()).toStrictEqual(['source', 'twin', 'clone']);
    // What the clone was made of is gone, and only the VolumeSnapshot is left.
    await poll(
      'the snapshot of the clone to go',
      async () => ((await snapshots()).length === 1 ? true : undefined),
      async () => (await snapshots()).join(),
    );
    await ns.kubectl('delete', 'pod', '--all', '--now');
    await deleteSnapshot('of-xfs');
    await ns.kubectl('delete', 'pvc', '--all', '--timeout=90s');
  });

  it('are refused with what to do where a pool can take none', async () => {
    await ns.apply([claim('file', { storageClass: 'vs-file' })]);
    await ns.bound('file');
    await ns.apply([volumeSnapshot('of-file', 'file')]);
    expect(await refusal('of-file')).toMatch(/FailedPrecondition.*cannot share blocks between files: use XFS with reflink=1/s);
    await deleteSnapshot('of-file');
    await ns.apply([claim('copy', { storageClass: 'vs-file', source: { kind: 'PersistentVolumeClaim', name: 'file' } })]);
    await ns.event('copy', 'ProvisioningFailed', /InvalidArgument.*cannot be cloned on node .*use XFS/s);
    await ns.kubectl('delete', 'pvc', 'copy', 'file', '--timeout=60s');
  });

  longTest('are refused with what to do where there is no room, and are taken once there is', async () => {
    const script = `dd if=/dev/urandom of=/data/random bs=1M count=100 && sync && ${IDLE}`;
    let lastFree: unknown;
    await ns.apply([claim('full', { storageClass: 'vs-thin', size: '160Mi' }), pod('full', { claim: 'full', script })]);
    await ns.ready('full', READY_MS);
    const { spec } = await cluster.getJson('aoev', await ns.volumeOf('full'));
    const free = await cluster.poll(
      async () => {
        const { status } = await cluster.getJson('aoepool', 'thin');
        const now = status.nodes.find(({ name }: { name: string }) => name === spec.nodeName).free;
        const settled = now === lastFree;
        lastFree = now;
        return settled ? String(now) : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 3_000, what: 'the free space of the pool to stay as it is' },
    );
    const capacity = `${Math.floor(parseQuantity(free) / MiB) - 64}Mi`;
    await cluster.apply([aoeVolume('e2e-vs-filler', { pool: 'thin', nodeName: spec.nodeName, capacity })]);
    await cluster.kubectl(['wait', 'aoev', 'e2e-vs-filler', '--for=jsonpath={.status.phase}=Ready', '--timeout=60s']);
    await ns.apply([volumeSnapshot('of-full', 'full')]);
    expect(await refusal('of-full')).toMatch(/ResourceExhausted.*thin pool vg0\/thin has \d+ bytes that are not promised.*\d+ are needed/s);
    // As docs/snapshots.md says: csi-snapshotter does not let go of one that may still be taken.
    await ns.apply([volumeSnapshot('unwanted', 'full')]);
    await refusal('unwanted');
    const { boundVolumeSnapshotContentName: content } = await statusOf('unwanted');
    await ns.kubectl('delete', 'volumesnapshot', 'unwanted', '--wait=false');
    const creating = 'snapshot.storage.kubernetes.io/volumesnapshot-being-created';
    await poll(
      'the VolumeSnapshot to go',
      async () => {
        await cluster.kubectl(['annotate', 'volumesnapshotcontent', content, `${creating}-`]).catch(() => '');
        return (await ns.kubectl('get', 'volumesnapshot', 'unwanted', '--ignore-not-found')) === '' ? true : undefined;
      },
      () => cluster.kubectl(['get', 'volumesnapshotcontent', content, '-o', 'yaml']),
    );

    await cluster.kubectl(['delete', 'aoev', 'e2e-vs-filler', '--timeout=60s']);
    await ready('of-full');
    await deleteSnapshot('of-full');
    await ns.kubectl('delete', 'pod', 'full', '--now');
    await ns.kubectl('delete', 'pvc', 'full', '--timeout=60s');
  });
});
