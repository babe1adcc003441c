import { Cluster } from '../testbed/cluster.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** A record, on the disk before its number is printed; the pod fails at the first I/O error. */
const RECORDER =
  'touch /tmp/ready; i=0; while true; do i=$((i+1)); dd if=/dev/zero bs=4096 count=4 2>/dev/null | tr "\\0" x > /data/$i && sync || exit 1; echo $i; usleep 20000; done';

describe('a storage node that crashes', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'crash');
    await cluster.apply([storageClass('crash', { pool: 'thin' }, 'Immediate')]);
  });
  afterAll(async () => {
    await cluster?.restore();
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'crash', '--ignore-not-found']);
  });

  const acknowledged = async () => {
    const lines = (await ns.kubectl('logs', 'recorder')).trim().split('\n');
    return Number(lines.at(-1));
  };

  it('and comes back costs a stall, no error, and not one write that was answered', async () => {
    await ns.apply([
      claim('data', { storageClass: 'crash', size: '256Mi' }),
      pod('recorder', { claim: 'data', node: 'worker-1', script: RECORDER }),
    ]);
    await ns.ready('recorder');
    const volume = await ns.volumeOf('data');
    const { nodeName } = (await cluster.getJson('aoev', volume)).spec;
    await cluster.poll(async () => ((await acknowledged()) > 50 ? true : undefined), {
      timeoutMs: 60_000,
      what: '50 records',
      intervalMs: 500,
    });

    await cluster.guest(nodeName).crash();
    const before = await acknowledged();
    await cluster.reboot(nodeName);
    await cluster.poll(async () => ((await acknowledged()) > before + 20 ? true : undefined), {
      timeoutMs: 170_000,
      what: 'records to be written after the crash',
      intervalMs: 1_000,
      explain: () => cluster.kubectl(['-n', 'aoe-csi', 'get', 'pods', '-o', 'wide']),
    });

    expect((await ns.kubectl('get', 'pod', 'recorder', '-o', 'jsonpath={.status.phase}')).trim()).toBe('Running');
    await cluster.heldBy(volume, 'worker-1');
    const last = await acknowledged();
    const check = `cd /data; for i in $(seq 1 ${last}); do [ "$(tr -d x < $i | wc -c) $(wc -c < $i)" = "0 16384" ] || echo "record $i is damaged"; done`;
    expect((await ns.kubectl('exec', 'recorder', '--', 'sh', '-c', check)).trim()).toBe('');
  });
});
