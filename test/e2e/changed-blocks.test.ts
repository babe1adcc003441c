import { join } from 'node:path';
import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { aoeSnapshot, claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const CLIENT = join(import.meta.dirname, 'changed-blocks-client.ts');
const MiB = 1 << 20;
/** Writes blocks here and there of a disk of 64 MiB. */
const WRITE = `for at in 1 7 500 501 900; do dd if=/dev/urandom of=/dev/data bs=64k seek=$at count=3 conv=notrunc; done; sync`;
const LVM = "--config 'activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 }'";

interface Answer {
  size: number;
  ranges: number[][];
  error?: string;
}

/** From a client of the controller's socket to the thin pool's metadata: the whole way, but for the sidecar. */
describe('changed blocks', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let socket: string;
  let controllerNode: string;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'blocks');
    await cluster.apply([
      storageClass('blocks', { pool: 'thin' }, 'Immediate'),
      storageClass('blocks-thick', { pool: 'lvm' }, 'Immediate'),
    ]);
    const selector = 'app.kubernetes.io/component=controller';
    const { items } = JSON.parse(await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', selector, '-o', 'json']));
    const controller = items.find(({ metadata }: { metadata: { deletionTimestamp?: string } }) => !metadata.deletionTimestamp);
    controllerNode = controller.spec.nodeName;
    socket = `/var/lib/kubelet/pods/${controller.metadata.uid}/volumes/kubernetes.io~empty-dir/socket/csi.sock`;
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'aoesnapshots', 'blocks-1', 'blocks-2', 'blocks-thick', '--ignore-not-found', '--timeout=60s']);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'blocks', 'blocks-thick', '--ignore-not-found']);
  });

  /** A client asks again when somebody on the way is away: the agents were just restarted. */
  const ask = (...words: string[]): Promise<Answer> => {
    const client = `'${process.execPath}' '${CLIENT}' '${socket}' ${words.join(' ')}`;
    const once = async (): Promise<Answer> => {
      const answer: Answer = JSON.parse(await cluster.guest(controllerNode).exec(client, { timeoutMs: 90_000 }));
      if (answer.error?.startsWith('UNAVAILABLE')) throw new Error(answer.error);
      return answer;
    };
    return cluster.poll(once, { timeoutMs: 60_000, what: `an answer about the blocks of ${words.join(' since ')}` });
  };
  const take = async (name: string, volume: string): Promise<{ uid: string; node: string }> => {
    await cluster.apply([aoeSnapshot(name, volume)]);
    await cluster.kubectl(['wait', 'aoesnapshot', name, '--for=jsonpath={.status.phase}=Ready', '--timeout=120s']);
    const { metadata, status } = await cluster.getJson('aoesnapshot', name);
    return { uid: metadata.uid, node: status.nodeName };
  };

  it('of a thin volume make a later snapshot of an earlier one', async () => {
    await ns.apply([
      claim('data', { storageClass: 'blocks', volumeMode: 'Block' }),
      pod('writer', { claim: 'data', block: true, script: 'touch /tmp/ready; sleep 1d' }),
    ]);
    await ns.ready('writer', 120_000);
    const volume = await ns.volumeOf('data');
    const write = () => ns.kubectl('exec', 'writer', '--', 'sh', '-c', WRITE);
    await ns.kubectl('exec', 'writer', '--', 'sh', '-c', 'dd if=/dev/urandom of=/dev/data bs=1M count=8 seek=20; sync');
    await write();
    const first = await take('blocks-1', volume);
    await write();
    const second = await take('blocks-2', volume);
    const allocated = await ask('blocks-1');
    expect(allocated.error).toBeUndefined();
    const sum = ({ ranges }: Answer) => ranges.reduce((total, [, bytes = 0]) => total + bytes, 0);
    expect(allocated.size).toBe(64 * MiB);
    expect(sum(allocated)).toBeGreaterThan(8 * MiB);
    expect(sum(allocated)).toBeLessThan(16 * MiB);
    const changed = await ask('blocks-2', 'blocks-1');
    expect(changed.error).toBeUndefined();
    expect(sum(changed)).toBeGreaterThan(0);
    expect(sum(changed)).toBeLessThan(6 * MiB);

    const device = ({ uid }: { uid: string }) => `vg0/aoe-snap-${uid}`;
    const copy = (from: { uid: string }, { ranges }: Answer, to: string): string =>
      ranges
        .map(
          ([offset = 0, bytes = 0]) =>
            `dd if=/dev/${device(from)} of=${to} bs=4096 skip=${offset / 4096} seek=${offset / 4096} count=${bytes / 4096} conv=notrunc status=none`,
        )
        .join('\n');
    const output = await cluster.guest(first.node).exec(
      `set -e
lvchange ${LVM} -ay -K ${device(first)} ${device(second)}
truncate -s ${64 * MiB} /dev/shm/backup
${copy(first, allocated, '/dev/shm/backup')}
cmp -n ${64 * MiB} /dev/shm/backup /dev/${device(first)} && echo full
${copy(second, changed, '/dev/shm/backup')}
cmp -n ${64 * MiB} /dev/shm/backup /dev/${device(second)} && echo incremental
rm /dev/shm/backup
lvchange ${LVM} -an ${device(first)} ${device(second)}
dmsetup status vg0-thin-tpool`,
      { timeoutMs: 120_000 },
    );
    expect(output).toMatch(/full.*incremental/s);
    expect(output).toMatch(/thin-pool \d+ \S+ \S+ - /);
    await ns.kubectl('delete', 'pod', 'writer', '--now');
  });

  it('of a thick volume are not known', async () => {
    await ns.apply([claim('thick', { storageClass: 'blocks-thick', volumeMode: 'Block' })]);
    await ns.bound('thick');
    await take('blocks-thick', await ns.volumeOf('thick'));
    expect(await ask('blocks-thick')).toStrictEqual({ size: 64 * MiB, ranges: [[0, 64 * MiB]] });
    expect((await ask('blocks-thick', 'blocks-1')).error).toMatch(/^INVALID_ARGUMENT: .*is of AoEVolume/);
    expect((await ask('nothing')).error).toMatch(/^NOT_FOUND/);
  });
});
