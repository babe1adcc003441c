import { Cluster } from '../testbed/cluster.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

const NAME = 'e2e-hung-lvm';
const NODE = 'storage-1';
const LABEL = 'e2e.aoe.dev/look';
const WRITER = 'echo 0 >/tmp/n; touch /tmp/ready; while :; do n=$((n+1)); echo $n >/data/n && sync && echo $n >/tmp/n; usleep 200000; done';
/**
 * A disk that LVM scans, and that answers no read. LVM does not scan a device of the target "zero" itself. It scans all disks only
 * without its hints, which say where the disks of a group are.
 */
const HANG = `
dmsetup create e2e-zero --table '0 8192 zero'
dmsetup create e2e-bad --table '0 8192 linear /dev/mapper/e2e-zero 0'
dmsetup suspend e2e-bad
rm -f /run/lvm/hints`;
const ANSWER = `
dmsetup resume e2e-bad || true
for name in e2e-bad e2e-zero; do dmsetup remove --retry $name || true; done`;
const COUNT = "pgrep -xc 'vgs|lvs|lvcreate|lvchange|lvextend|lvremove' || true";

interface Entry {
  ready: boolean;
  message?: string;
}

describe('LVM that hangs on a storage node', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'hung-lvm');
    await cluster.apply([aoeVolume(NAME, { capacity: '16Mi', pool: 'lvm', nodeName: NODE })]);
    await cluster.apply([staticVolume(NAME, { volume: NAME, size: '16Mi' })]);
    await ns.apply([claim('data', { size: '16Mi', volumeName: NAME, storageClass: '' })]);
    await cluster.kubectl(['wait', 'aoev', NAME, '--for=condition=Ready', '--timeout=60s']);
  });
  afterAll(async () => {
    if (!cluster) return;
    await cluster.guest(NODE).exec(ANSWER);
    await ns?.delete();
    await cluster.kubectl(['delete', `pv/${NAME}`, `aoev/${NAME}`, '--ignore-not-found', '--timeout=60s']);
    await cluster.kubectl(['label', 'node', NODE, `${LABEL}-`]);
  });

  let looks = 0;
  /** Lets the agent measure its pools until one of them is as expected, and gives its message. */
  const poolBecomes = (pool: string, ready: boolean) =>
    cluster.poll(
      async () => {
        // A command that was under way may have written the hints again.
        if (!ready) await cluster.guest(NODE).exec('rm -f /run/lvm/hints');
        // A pool is measured again when a label of its node changes.
        await cluster.kubectl(['label', 'node', NODE, '--overwrite', `${LABEL}=${++looks}`]);
        const { status } = await cluster.getJson('aoep', pool);
        const entry: Entry | undefined = status?.nodes?.find(({ name }: { name: string }) => name === NODE);
        return entry?.ready === ready ? (entry.message ?? '') : undefined;
      },
      {
        timeoutMs: 60_000,
        intervalMs: 1_000,
        what: `pool ${pool} to be ${ready ? '' : 'not '}ready on ${NODE}`,
        explain: async () => `${await cluster.kubectl(['get', 'aoep', pool, '-o', 'yaml'])}${await cluster.guest(NODE).exec('ps axf')}`,
      },
    );
  const written = async () => Number(await ns.kubectl('exec', 'writer', '--', 'cat', '/tmp/n'));

  it('hangs once, its pools say so, volumes are served and attached all the same, and all is well once the disk answers', async () => {
    await cluster.guest(NODE).exec(HANG);
    // The agent reads the group before it makes a volume larger.
    await cluster.kubectl(['patch', 'aoev', NAME, '--type=merge', '-p', '{"spec":{"capacity":"24Mi"}}']);
    await ns.apply([pod('writer', { claim: 'data', node: 'worker-1', script: WRITER })]);
    for (const pool of ['lvm', 'thin'])
      expect(await poolBecomes(pool, false)).toMatch(/volume group vg0: command "vgs .*hangs and cannot be killed.*dmsetup info/);
    await poolBecomes('default', true);
    await ns.ready('writer', 40_000);
    const before = await written();
    await cluster.poll(async () => (await written()) > before + 3 || undefined, { timeoutMs: 20_000, what: 'writes to go on' });
    expect((await cluster.guest(NODE).exec(COUNT)).trim()).toBe('1');

    await cluster.guest(NODE).exec(ANSWER);
    for (const pool of ['lvm', 'thin']) await poolBecomes(pool, true);
    await cluster.kubectl(['wait', 'aoev', NAME, '--for=condition=Ready', '--timeout=40s']);
    await ns.kubectl('delete', 'pod', 'writer', '--now');
  });
});
