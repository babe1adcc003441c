import { Cluster } from '../testbed/cluster.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** At the test bed's storage.copySpeed the copy takes some eight seconds in each phase. */
const WRITTEN_MIB = 40;
const AGENT = '^node .*/app/agent.js';
const COPIER = '^aoe-copier';

/** A volume that nobody uses goes to another node and another kind of pool. */
describe('a volume that is moved', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'move');
    await cluster.apply([storageClass('move-lvm', { pool: 'lvm' }, 'Immediate')]);
  });
  afterAll(async () => {
    await ns?.kubectl('delete', 'pod', '--all', '--now');
    await ns?.kubectl('delete', 'pvc', '--all', '--timeout=90s');
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'move-lvm', '--ignore-not-found']);
  });

  const explain = () => cluster.kubectl(['get', 'aoev', '-o', 'yaml']);
  const kill = (node: string, program: string) => cluster.guest(node).exec(`pkill -KILL -f '${program}'`);
  const lvs = (node: string) => cluster.guest(node).exec('lvs --noheadings -o lv_name vg0');

  it('has the same data there, whoever is killed meanwhile, and leaves nothing at the old place', async () => {
    const idle = 'sleep 1d';
    const write = `dd if=/dev/urandom of=/data/file bs=1M count=${WRITTEN_MIB}; sync; sha256sum /data/file >/tmp/sum; touch /tmp/ready; ${idle}`;
    await ns.apply([claim('data', { storageClass: 'move-lvm' }), pod('writer', { claim: 'data', script: write })]);
    await ns.ready('writer', 90_000);
    const sum = await ns.kubectl('exec', 'writer', '--', 'cat', '/tmp/sum');
    const name = (await ns.kubectl('get', 'pvc', 'data', '-o', 'jsonpath={.spec.volumeName}')).trim();
    const volume = () => cluster.getJson('aoev', name);
    const before = await volume();
    const from: string = before.spec.nodeName;
    const to = from === 'storage-1' ? 'storage-2' : 'storage-1';

    // In use: refused, and nothing changes.
    const until = <T>(what: string, look: () => Promise<T | undefined>, timeoutMs = 60_000) =>
      cluster.poll(look, { timeoutMs, what, explain });
    const ask = () => cluster.kubectl(['annotate', '--overwrite', 'aoev', name, `aoe.dev/move-to=${to}/thin`]);
    await ask();
    await until('the move of a used volume to be refused', async () =>
      (await volume()).metadata.annotations?.['aoe.dev/move-to'] === undefined ? true : undefined,
    );
    expect((await volume()).spec.move).toBeUndefined();

    await ns.kubectl('delete', 'pod', 'writer', '--now');
    await until('the volume to be detached', async () =>
      (await cluster.kubectl(['get', 'volumeattachments', '-o', 'jsonpath={.items[*].spec.source.persistentVolumeName}'])).includes(name)
        ? undefined
        : true,
    );
    await until('the target to admit nobody', async () => {
      const { status } = await volume();
      return (status.initiators?.macs ?? []).length === 0 && !status.holder ? true : undefined;
    });
    await ask();
    const hasMoved = ({ spec, status }: { spec: { nodeName: string; move?: object }; status: { phase: string } }): boolean =>
      spec.nodeName === to && status.phase === 'Ready' && spec.move === undefined;
    // On a slow machine a phase may be over before it is seen.
    const phase = (wanted: string) =>
      until(`phase ${wanted} of the copy`, async () => {
        const now = await volume();
        const { move } = now.status;
        return (move?.phase === wanted && move.bytesDone > 0) || hasMoved(now) ? true : undefined;
      });
    await phase('Copying');
    expect((await volume()).status.phase).toBe('Pending');
    await expect(
      cluster.kubectl(['patch', 'aoev', name, '--type=merge', '-p', JSON.stringify({ spec: { initiators: { nodes: [to] } } })]),
    ).rejects.toThrow(/being moved/);
    await kill(to, COPIER);
    await kill(from, AGENT);
    await phase('Verifying');
    await kill(to, AGENT);
    const moved = await until(
      'the move to end',
      async () => {
        const now = await volume();
        return hasMoved(now) ? now : undefined;
      },
      150_000,
    );
    expect(moved.spec).toMatchObject({ pool: 'thin', moves: 1 });
    expect(moved.status.serial).toMatch(/-1$/);
    expect(moved.status.address).not.toBe(before.status.address);
    expect(await lvs(from)).not.toContain(before.metadata.uid);
    expect(await lvs(to)).toContain(before.metadata.uid);

    await ns.apply([pod('reader', { claim: 'data', script: `touch /tmp/ready; ${idle}` })]);
    await ns.ready('reader', 120_000);
    expect((await ns.kubectl('exec', 'reader', '--', 'sha256sum', '/data/file')).trim()).toBe(sum.trim());
  });
});
