import { Cluster } from '../testbed/cluster.ts';
import { aoeSnapshot, aoeVolume, claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const [FROM, TO] = ['storage-1', 'storage-2'] as const;
/** At the test bed's storage.copySpeed it takes several seconds in each phase. */
const SIZE = '96Mi';
const WRITTEN_MIB = 64;

/** Data that is copied to another pool and node. */
describe('a snapshot restored elsewhere', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let hash = '';
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'elsewhere');
    await cluster.apply([
      storageClass('elsewhere-thin', { pool: 'thin' }, 'Immediate'),
      storageClass('elsewhere-lvm', { pool: 'lvm' }, 'Immediate'),
      aoeVolume('e2e-origin', { pool: 'thin', nodeName: FROM, capacity: SIZE }),
    ]);
    await cluster.kubectl(['wait', 'aoev', 'e2e-origin', '--for=jsonpath={.status.phase}=Ready', '--timeout=60s']);
    const disk = await diskOf('e2e-origin');
    // Nobody has it, so the node may write where a host would. Its end stays as it is: zeros, which are not copied.
    await cluster.guest(FROM).exec(`dd if=/dev/urandom of=${disk} bs=1M count=${WRITTEN_MIB} oflag=direct conv=notrunc status=none`);
    hash = await hashOf(FROM, disk);
    await cluster.apply([aoeSnapshot('e2e-elsewhere', 'e2e-origin')]);
    await cluster.kubectl(['wait', 'aoesnapshot', 'e2e-elsewhere', '--for=jsonpath={.status.phase}=Ready', '--timeout=60s']);
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'aoev', 'e2e-origin', 'e2e-given-up', 'e2e-restored', '--ignore-not-found', '--wait=false']);
    await cluster?.kubectl(['delete', 'aoesnapshot', 'e2e-elsewhere', '--ignore-not-found', '--timeout=60s']);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'elsewhere-thin', 'elsewhere-lvm', '--ignore-not-found']);
  });

  const diskOf = async (volume: string): Promise<string> => `/dev/vg0/aoe-${(await cluster.getJson('aoev', volume)).metadata.uid}`;
  const hashOf = async (node: string, disk: string): Promise<string> =>
    (await cluster.guest(node).exec(`dd if=${disk} bs=1M iflag=direct status=none | sha256sum`)).trim().split(' ')[0] ?? '';
  const copyOf = async (volume: string): Promise<{ phase: string; bytesDone: number } | undefined> =>
    (await cluster.getJson('aoev', volume)).status?.copy;
  const explain = () => cluster.kubectl(['get', 'aoev,aoesnapshots', '-o', 'yaml']);
  const progress = (volume: string, what: string, isSo: (copy: { phase: string; bytesDone: number }) => boolean) =>
    cluster.poll(
      async () => {
        const copy = await copyOf(volume);
        return copy && isSo(copy) ? copy : undefined;
      },
      { timeoutMs: 90_000, what, explain },
    );
  const kill = (node: string, program: string) => cluster.guest(node).exec(`pkill -KILL -f '${program}'`);
  /** The same for a program that may have ended by itself meanwhile: status 1 says that there is none. */
  const killIfThere = (node: string, program: string) => cluster.guest(node).exec(`pkill -KILL -f '${program}' || test $? = 1`);
  const AGENT = '^node .*/app/agent.js';
  const COPIER = '^aoe-copier';

  it('is given up by a deletion in the middle, and leaves nothing', async () => {
    await cluster.apply([aoeVolume('e2e-given-up', { pool: 'lvm', nodeName: TO, capacity: SIZE, source: { snapshot: 'e2e-elsewhere' } })]);
    await progress('e2e-given-up', 'the copy to begin', ({ bytesDone }) => bytesDone > 0);
    const { metadata } = await cluster.getJson('aoev', 'e2e-given-up');
    await cluster.kubectl(['delete', 'aoev', 'e2e-given-up', '--timeout=60s']);
    expect(await cluster.guest(TO).exec('lvs --noheadings -o lv_name vg0')).not.toContain(metadata.uid);
    await cluster.poll(
      async () => ((await cluster.getJson('aoesnapshot', 'e2e-elsewhere')).status.copyAddress === undefined ? true : undefined),
      { timeoutMs: 60_000, what: 'the address of the copy to be given back', explain },
    );
  });

  it('has all of its data, whoever is killed meanwhile, and is not served before; its snapshot may be deleted', async () => {
    await cluster.apply([aoeVolume('e2e-restored', { pool: 'lvm', nodeName: TO, capacity: SIZE, source: { snapshot: 'e2e-elsewhere' } })]);
    await progress('e2e-restored', 'the copy to begin', ({ bytesDone }) => bytesDone > 0);
    const { status } = await cluster.getJson('aoev', 'e2e-restored');
    expect([status.phase, status.serial, status.capacity]).toStrictEqual(['Pending', undefined, undefined]);
    await kill(TO, COPIER);
    await kill(TO, AGENT);
    const snapshot = await cluster.getJson('aoesnapshot', 'e2e-elsewhere');
    await cluster.kubectl(['delete', 'aoesnapshot', 'e2e-elsewhere', '--wait=false']);
    // On a slow machine it may be over before it is seen.
    const isVerified = ({ status: { phase, copy } }: { status: { phase: string; copy?: { phase: string; bytesDone: number } } }) =>
      phase === 'Ready' || (copy?.phase === 'Verifying' && copy.bytesDone > 0);
    await cluster.volumeUntil('e2e-restored', 'a copy that is being compared', isVerified, 90_000);
    await kill(FROM, AGENT);
    await killIfThere(TO, COPIER);
    await cluster.volumeUntil('e2e-restored', 'phase Ready', ({ status: now }) => now.phase === 'Ready', 180_000);
    expect(await hashOf(TO, await diskOf('e2e-restored'))).toBe(hash);
    expect((await cluster.getJson('aoev', 'e2e-restored')).status.copy).toBeUndefined();
    await cluster.kubectl(['wait', 'aoesnapshot', 'e2e-elsewhere', '--for=delete', '--timeout=60s']);
    expect(await cluster.guest(FROM).exec('lvs --noheadings -o lv_name vg0')).not.toContain(snapshot.metadata.uid);
    await cluster.kubectl(['delete', 'aoev', 'e2e-restored', 'e2e-origin', '--timeout=60s']);
  });

  it('and a claim in another pool is cloned', async () => {
    const idle = 'touch /tmp/ready; sleep 1d';
    const snapshots = async () => (await cluster.kubectl(['get', 'aoesnapshots', '-o', 'name'])).split('\n').filter(Boolean);
    const before = await snapshots();
    await ns.apply([
      claim('source', { storageClass: 'elsewhere-thin' }),
      pod('writer', { claim: 'source', script: `echo one > /data/file; sync; ${idle}` }),
    ]);
    await ns.ready('writer', 90_000);
    await ns.apply([
      claim('clone', { storageClass: 'elsewhere-lvm', source: { kind: 'PersistentVolumeClaim', name: 'source' } }),
      pod('reader', { claim: 'clone', script: idle }),
    ]);
    await ns.ready('reader', 180_000);
    expect((await ns.kubectl('exec', 'reader', '--', 'cat', '/data/file')).trim()).toBe('one');
    await cluster.poll(async () => ((await snapshots()).every((name) => before.includes(name)) ? true : undefined), {
      timeoutMs: 60_000,
      what: 'the snapshot of the clone to go',
      explain,
    });
    await ns.kubectl('delete', 'pod', '--all', '--now');
    await ns.kubectl('delete', 'pvc', '--all', '--timeout=90s');
  });
});
