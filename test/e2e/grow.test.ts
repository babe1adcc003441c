import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { longTest } from './long.ts';
import { aoeVolume, claim, pod, RECORDER, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const IDLE = 'touch /tmp/ready; sleep 3600';
const MiB = 1 << 20;
/** A node notices a volume that was made larger by hand within 75 s. */
const NOTICED_MS = 180_000;
const READY_MS = 180_000;

describe('a volume that grows', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'grow');
    await cluster.apply([
      storageClass('grow-file', { pool: 'default' }, 'Immediate'),
      storageClass('grow-lvm', { pool: 'lvm', 'csi.storage.k8s.io/fstype': 'xfs' }, 'Immediate'),
      storageClass('grow-thin', { pool: 'thin' }, 'Immediate'),
    ]);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'aoev', 'grow-by-hand', '--ignore-not-found', '--timeout=60s']);
    await cluster?.kubectl(['delete', 'storageclass', 'grow-file', 'grow-lvm', 'grow-thin', '--ignore-not-found']);
  });

  const sizeVolume = (volume: string, capacity: string): Promise<string> =>
    cluster.kubectl(['patch', 'aoev', volume, '--type=merge', '-p', JSON.stringify({ spec: { capacity } })]);
  const ask = (name: string, storage: string): Promise<string> =>
    ns.kubectl('patch', 'pvc', name, '--type=merge', '-p', JSON.stringify({ spec: { resources: { requests: { storage } } } }));
  const serves = (volume: string, capacity: string): Promise<string> =>
    cluster.kubectl(['wait', 'aoev', volume, `--for=jsonpath={.status.capacity}=${capacity}`, '--timeout=120s']);
  const filesystemMiB = async (podName: string): Promise<number> =>
    Number((await ns.kubectl('exec', podName, '--', 'df', '-m', '/data')).trim().split('\n').at(-1)?.split(/\s+/)[1]);
  const sizeOf = async (node: string, address: string): Promise<number> =>
    Number((await cluster.guest(node).exec(`cat '/sys/block/etherd!${address}/size'`)).trim()) * 512;

  it('grows with its filesystem while a pod writes, in every pool, and the next start finds it so', async () => {
    const volumes = [
      { name: 'file', size: '64Mi', grown: '128Mi', least: 100 },
      { name: 'lvm', size: '320Mi', grown: '448Mi', least: 360 },
      { name: 'thin', size: '64Mi', grown: '128Mi', least: 100 },
    ];
    await ns.apply(
      volumes.flatMap(({ name, size }) => [
        claim(name, { storageClass: `grow-${name}`, size }),
        pod(name, { claim: name, node: 'worker-1', script: RECORDER }),
      ]),
    );
    for (const { name } of volumes) await ns.ready(name, READY_MS);
    for (const { name, grown } of volumes) await ask(name, grown);
    for (const { name, grown, least } of volumes) {
      await serves(await ns.volumeOf(name), grown);
      await cluster.poll(async () => ((await filesystemMiB(name)) > least ? true : undefined), {
        timeoutMs: NOTICED_MS,
        what: `the filesystem of claim ${name} to grow`,
        explain: () => cluster.kubectl(['-n', NAMESPACE, 'logs', '-l', 'app.kubernetes.io/component=node', '--tail=20']),
      });
      expect((await ns.kubectl('get', 'pod', name, '-o', 'jsonpath={.status.phase}')).trim(), 'no write has failed').toBe('Running');
      await ns.kubectl('wait', 'pvc', name, `--for=jsonpath={.status.capacity.storage}=${grown}`, '--timeout=90s');
    }
    const records = Number((await ns.kubectl('exec', 'file', '--', 'wc', '-l', '/data/records')).split(' ')[0]);
    await ns.kubectl('delete', 'pod', 'file', '--now');
    await ns.apply([pod('again', { claim: 'file', node: 'storage-2', script: `wc -l < /data/records; ${IDLE}` })]);
    await ns.ready('again', READY_MS);
    expect(Number(await ns.said('again'))).toBeGreaterThanOrEqual(records);
    expect(await filesystemMiB('again')).toBeGreaterThan(100);
    for (const name of ['again', 'lvm', 'thin']) await ns.kubectl('delete', 'pod', name, '--now');
  });

  it('grows without a pod, and the pod that comes next has all of it', async () => {
    await ns.apply([claim('offline', { storageClass: 'grow-thin' }), pod('first', { claim: 'offline', node: 'worker-1', script: IDLE })]);
    await ns.ready('first', READY_MS);
    await ns.kubectl('delete', 'pod', 'first', '--now');
    const volume = await ns.volumeOf('offline');
    await ask('offline', '160Mi');
    await serves(volume, '160Mi');
    await ns.apply([pod('second', { claim: 'offline', node: 'storage-1', script: IDLE })]);
    await ns.ready('second', READY_MS);
    expect(await filesystemMiB('second')).toBeGreaterThan(130);
    await ns.kubectl('delete', 'pod', 'second', '--now');
  });

  longTest('is seen by every node that shares it, and shows nothing of what was deleted', async () => {
    const nodes = ['worker-1', 'storage-2'] as const;
    await ns.apply([
      claim('shared', { storageClass: 'grow-lvm', accessMode: 'ReadWriteMany', volumeMode: 'Block', size: '64Mi' }),
      ...nodes.map((node) => pod(`shared-${node}`, { claim: 'shared', node, script: IDLE, block: true })),
    ]);
    for (const node of nodes) await ns.ready(`shared-${node}`, READY_MS);
    const volume = await ns.volumeOf('shared');
    const { spec, status } = await cluster.getJson('aoev', volume);
    // What a deleted volume has left where this one grows.
    await cluster.guest(spec.nodeName).exec(
      `lvcreate --yes -Wn -L 96M -n old vg0; head -c 96M /dev/zero | tr '\\0' '\\253' | dd of=/dev/vg0/old bs=1M iflag=fullblock oflag=direct status=none
lvremove --yes vg0/old`,
      { timeoutMs: 120_000 },
    );
    await ask('shared', '128Mi');
    await serves(volume, '128Mi');
    for (const node of nodes) {
      await cluster.poll(async () => ((await sizeOf(node, status.address)) === 128 * MiB ? true : undefined), {
        timeoutMs: NOTICED_MS,
        what: `${node} to see the new size`,
      });
      const zeros = `dd if=/dev/etherd/${status.address} bs=1M skip=64 count=64 iflag=direct status=none | tr -d '\\0' | wc -c`;
      expect(Number(await cluster.guest(node).exec(zeros))).toBe(0);
    }
    for (const node of nodes) await ns.kubectl('delete', 'pod', `shared-${node}`, '--now');
  });

  it('is refused when it is smaller, or when there is no room, and is taken back', async () => {
    await cluster.apply([aoeVolume('grow-by-hand', { pool: 'thin', capacity: '64Mi' })]);
    await cluster.kubectl(['wait', 'aoev', 'grow-by-hand', '--for=condition=Ready', '--timeout=60s']);
    await expect(sizeVolume('grow-by-hand', '32Mi')).rejects.toThrow(/cannot become smaller than status\.capacity/);
    await sizeVolume('grow-by-hand', '1Ti');
    const { message } = await cluster.condition('grow-by-hand', 'Grown', { status: 'False', reason: 'PoolFull' });
    expect(message).toMatch(/free, and .* more are needed to grow from 64Mi to 1Ti/);
    expect((await cluster.getJson('aoev', 'grow-by-hand')).status.phase, 'it is used at the size that it has').toBe('Ready');
    await sizeVolume('grow-by-hand', '64Mi');
    await cluster.kubectl(['wait', 'aoev', 'grow-by-hand', '--for=condition=Grown', '--timeout=60s']);
    await sizeVolume('grow-by-hand', '96Mi');
    await serves('grow-by-hand', '96Mi');
  });
});
