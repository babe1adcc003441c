import { Cluster } from '../testbed/cluster.ts';
import { LONG, longTest } from './long.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const MiB = 1 << 20;
const NODE = 'worker-1';
const ELSEWHERE = 'storage-2';
const HOUR_MS = 3_600_000;
/** What is deleted, and what of it the pool has back at least: a run leaves a tenth of the file system as it is. */
const [DELETED, BACK] = [64 * MiB, 30 * MiB];
/** The agent looks at a pool and at a volume once a minute each. */
const NOTICED_MS = 150_000;
/** Six minutes of spread, a check of the node each minute, and two runs one after the other. */
const RUN_MS = 560_000;
const READY_MS = 180_000;
/** Overwrites four small files again and again, each on the disk before the next, and remembers what they hold; the pod fails at the first error. */
const WRITER = `dd if=/dev/urandom of=/data/kept bs=1M count=4 && dd if=/dev/urandom of=/data/deleted bs=1M count=64 && sync || exit 1
md5sum /data/kept > /tmp/sum-kept; : > /tmp/rounds; touch /tmp/ready; i=0
while [ ! -e /tmp/enough ]; do
  i=$((i+1)); f=file$((i%4)); dd if=/dev/urandom of=/data/$f bs=65536 count=4 2>/dev/null && sync || exit 1
  md5sum /data/$f > /tmp/sum-$f; echo >> /tmp/rounds; usleep 200000
done
touch /tmp/ended; sleep 3600`;

/** By pool, how many bytes a volume takes there: asked on its storage node. */
const TAKEN = {
  default: (uid: string) => `echo $(($(stat -c %b '/var/lib/aoe-csi/pools/default/${uid}.img') * 512))`,
  thin: (uid: string) =>
    `lvs --noheadings --nosuffix --units b -o lv_size,data_percent 'vg0/aoe-${uid}' | awk '{ printf "%d", $1 * $2 / 100 }'`,
} as const;
const POOLS = ['default', 'thin'] as const;

/** What docs/storage.md, "What gives space back", says of schedules. */
describe('a schedule for free space', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    if (!LONG) return;
    cluster = await Cluster.attach();
    await discards('nopassdown');
    ns = await Namespace.create(cluster, 'free-space');
    await cluster.apply(POOLS.map((pool) => storageClass(`free-space-${pool}`, { pool, reclaimEvery: '1h' }, 'Immediate')));
  });
  afterAll(async () => {
    if (!cluster) return;
    await ns?.delete();
    await cluster.kubectl(['delete', 'storageclass', ...POOLS.map((pool) => `free-space-${pool}`), '--ignore-not-found']);
    await discards('passdown');
  });

  /** LVM's default is `passdown`, with which nothing is given back. */
  const discards = async (value: 'passdown' | 'nopassdown') => {
    for (const node of ['storage-1', 'storage-2']) await cluster.guest(node).exec(`lvchange --discards ${value} vg0/thin`);
  };
  const inPod = async (name: string, command: string): Promise<string> =>
    (await ns.kubectl('exec', name, '--', 'sh', '-c', command)).trim();
  const rounds = async (name: string): Promise<number> => Number(await inPod(name, 'wc -l < /tmp/rounds'));

  /** Deletes a file, and has the volume's last run be two hours ago: no schedule is shorter than an hour. */
  const prepare = async (pool: (typeof POOLS)[number]) => {
    const volume = await ns.volumeOf(pool);
    const reclaims = ({ status }: { status: { reclaimsZeros?: boolean } }) => status.reclaimsZeros === true;
    const { metadata, spec } = await cluster.volumeUntil(volume, 'reclaimsZeros in the status', reclaims, NOTICED_MS);
    expect(spec.reclaimEvery).toBe('1h');
    await inPod(pool, 'rm /data/deleted && sync');
    const taken = async () => Number(await cluster.guest(spec.nodeName).exec(TAKEN[pool](metadata.uid)));
    const before = await taken();
    expect(before, `what is deleted in pool ${pool} goes on to take space`).toBeGreaterThan(DELETED);
    const lastAt = new Date(Date.now() - 2 * HOUR_MS).toISOString();
    const reclaim = { request: '', scheduled: true, node: NODE, state: 'Done', finishedAt: lastAt };
    const patch = ['--type=merge', '-p', JSON.stringify({ status: { reclaim } })];
    await cluster.kubectl(['patch', 'aoev', volume, '--subresource=status', ...patch]);
    return { pool, volume, taken, before, lastAt, written: await rounds(pool) };
  };

  longTest(
    'begins runs by itself that give the space of a deleted file back, and files that stay or are written meanwhile are whole',
    async () => {
      const options = (pool: string) => ({ storageClass: `free-space-${pool}`, size: '160Mi' });
      await ns.apply(POOLS.flatMap((pool) => [claim(pool, options(pool)), pod(pool, { claim: pool, node: NODE, script: WRITER })]));
      for (const pool of POOLS) await ns.ready(pool, READY_MS);
      const volumes = [];
      for (const pool of POOLS) volumes.push(await prepare(pool));

      for (const { pool, volume, taken, before, lastAt, written } of volumes) {
        const { status } = await cluster.volumeUntil(
          volume,
          'the end of a scheduled run',
          ({ status: { reclaim } }) => reclaim.state !== 'Running' && reclaim.finishedAt !== lastAt,
          RUN_MS,
        );
        expect(status.reclaim).toMatchObject({ state: 'Done', scheduled: true, request: '', node: NODE });
        const all = /^\d+ bytes of free space were overwritten with zeros, so that the pool has them back$/;
        await eventAbout(cluster, volume, 'FreeSpaceReclaimed', all);
        await cluster.poll(async () => (await taken()) < before - BACK || undefined, {
          timeoutMs: 60_000,
          what: `pool ${pool} to have ${BACK} bytes of ${before} back`,
          explain: async () => `the volume takes ${await taken()} bytes`,
        });
        expect(await rounds(pool), 'files were written meanwhile').toBeGreaterThan(written);
        console.log(`${pool}: ${before} bytes before, ${await taken()} after, ${status.reclaim.bytes} of zeros`);
      }

      for (const { pool } of volumes) {
        const sums = await inPod(pool, 'touch /tmp/enough; until [ -e /tmp/ended ]; do usleep 100000; done; cat /tmp/sum-*');
        await ns.kubectl('delete', 'pod', pool, '--now');
        // On another node, where none of it is cached.
        const reader = `${pool}-reader`;
        await ns.apply([pod(reader, { claim: pool, node: ELSEWHERE, script: 'touch /tmp/ready; sleep 3600' })]);
        await ns.ready(reader, READY_MS);
        const files = ['file0', 'file1', 'file2', 'file3', 'kept'];
        expect(await inPod(reader, `echo '${sums}' | md5sum -c || true`)).toBe(files.map((name) => `/data/${name}: OK`).join('\n'));
        expect((await inPod(reader, 'ls -A /data')).split('\n')).toStrictEqual([...files, 'lost+found']);
      }
    },
  );
});
