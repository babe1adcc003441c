import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, OUT_OF_SERVICE as TAINT } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { RUN } from '../testbed/paths.ts';
import { shInNetns } from '../testbed/process/shell.ts';
import { longTest } from './long.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const [HERE, THERE] = ['worker-1', 'storage-2'];
const READY_MS = 180_000;
/** Fits into one frame at every MTU. */
const MARKER = 'plain-text-marker-0b6d51';
const KEY = 'key-3f9a71c2-of-the-test';
const IDLE = 'touch /tmp/ready; sleep 3600';
const write = (to: string) => `for i in $(seq 4000); do echo ${MARKER}; done > ${to}; sync`;
const WRITER = `test -e /data/marks || { ${write('/data/marks')}; }; wc -l < /data/marks; ${IDLE}`;

/** Records the AoE frames on the segment, on the host: what listens in a guest takes its processor's time. */
class Sniffer {
  readonly #file: string;
  readonly #pid: number;

  private constructor(file: string, pid: number) {
    this.#file = file;
    this.#pid = pid;
  }

  static async start(cluster: Cluster, name: string): Promise<Sniffer> {
    const file = join(RUN, `${name}.pcap`);
    // Frames that the kernel has gathered and not handed over yet would be lost at the end: hence the immediate mode.
    const command = `tcpdump -i storage -Z root -s 0 --immediate-mode -U -w ${file} ether proto 0x88a2 </dev/null >${file}.log 2>&1`;
    const pid = Number(shInNetns(`${command} & echo $!`));
    const isUp = async () => (readFileSync(`${file}.log`, 'utf8').includes('listening on') ? true : undefined);
    await cluster.poll(isUp, { timeoutMs: 20_000, what: 'tcpdump to listen' });
    return new Sniffer(file, pid);
  }

  /** @returns the size of what was seen, in bytes, and how often the marker is in it */
  async stop(cluster: Cluster): Promise<{ bytes: number; found: number }> {
    process.kill(this.#pid, 'SIGTERM');
    const isDown = async () => (readFileSync(`${this.#file}.log`, 'utf8').includes('packets captured') ? true : undefined);
    await cluster.poll(isDown, { timeoutMs: 20_000, what: 'tcpdump to end' });
    const seen = readFileSync(this.#file);
    return { bytes: seen.length, found: seen.toString('latin1').split(MARKER).length - 1 };
  }
}

/** Looks for the key in the command lines and environments of all processes, again and again, until /tmp/look.stop exists. */
const WATCHER = `printf '%s' '${KEY}' > /tmp/look.key; rm -f /tmp/look.stop /tmp/look.out /tmp/look.seen /tmp/look.new
until [ -e /tmp/look.stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -c -a -f /tmp/look.key >> /tmp/look.new || true
  sleep 0.3
done &
until [ -e /tmp/look.stop ]; do pgrep -x cryptsetup >> /tmp/look.seen || true; sleep 0.1; done
wait
sort -u /tmp/look.new > /tmp/look.out`;

/** Encryption at the node: neither the segment nor the storage node has plain text, whatever is killed. */
describe('an encrypted volume', () => {
  let cluster: Cluster;
  let ns: Namespace;
  const secretOf = (passphrase: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'key' },
    stringData: { encryptionPassphrase: passphrase },
  });
  const classOf = (name: string, pool: string, encrypted = 'true') =>
    storageClass(
      name,
      {
        pool,
        encrypted,
        ...Object.fromEntries(
          ['node-stage', 'node-publish'].flatMap((call) => [
            [`csi.storage.k8s.io/${call}-secret-name`, 'key'],
            [`csi.storage.k8s.io/${call}-secret-namespace`, 'e2e-encryption'],
          ]),
        ),
      },
      'Immediate',
    );

  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'encryption');
    await ns.apply([secretOf(KEY)]);
    await cluster.apply([
      classOf('encryption-lvm', 'lvm'),
      classOf('encryption-thin', 'thin'),
      classOf('encryption-authenticated', 'lvm', 'authenticated'),
      storageClass('encryption-plain', { pool: 'lvm' }, 'Immediate'),
    ]);
  });
  afterAll(async () => {
    await ns?.delete();
    const classes = ['encryption-lvm', 'encryption-thin', 'encryption-authenticated', 'encryption-plain'];
    await cluster?.kubectl(['delete', 'storageclass', ...classes, '--ignore-not-found']);
  });
  afterEach(() => cluster.restore());

  const volumeOf = async (name: string) => cluster.getJson('aoev', await ns.volumeOf(name));
  const poll = <T>(what: string, ask: () => Promise<T | undefined>, explain?: () => Promise<string>): Promise<T> =>
    cluster.poll(ask, { timeoutMs: READY_MS, what, ...(explain ? { explain } : {}) });
  const fileOn = (node: string, path: string): Promise<string> =>
    poll(`${path} on ${node}`, async () => (await cluster.guest(node).exec(`cat ${path} 2>/dev/null || true`)).trim() || undefined);
  /** How often the marker is on the disk of the storage node, as it is stored. */
  const marksOnDisk = async (name: string): Promise<number> => {
    const { metadata, spec } = await volumeOf(name);
    const found = await cluster
      .guest(spec.nodeName)
      .exec(`sync; grep -c -a ${MARKER} /dev/vg0/aoe-${metadata.uid} || true`, { timeoutMs: 60_000 });
    return Number(found);
  };
  const mappingsOn = async (node: string): Promise<string[]> =>
    (await cluster.guest(node).exec('cat /sys/block/dm-*/dm/name 2>/dev/null | grep ^aoe-e || true')).trim().split('\n').filter(Boolean);
  const filesystemMiB = async (podName: string): Promise<number> =>
    Number((await ns.kubectl('exec', podName, '--', 'df', '-m', '/data')).trim().split('\n').at(-1)?.split(/\s+/)[1]);
  const end = async (...pods: string[]) => {
    for (const each of pods) await ns.kubectl('delete', 'pod', each, '--now');
  };

  it('has no plain text on the segment and on the storage node, and its key is in no command line and no log', async () => {
    await ns.apply([claim('data', { storageClass: 'encryption-lvm' }), claim('plain', { storageClass: 'encryption-plain' })]);
    for (const name of ['data', 'plain']) await ns.bound(name);
    const { spec, status } = await volumeOf('data');
    expect({ capacity: status.capacity, encryption: spec.encryption }).toStrictEqual({ capacity: '80Mi', encryption: 'LUKS2' });
    expect((await ns.kubectl('get', 'pvc', 'data', '-o', 'jsonpath={.status.capacity.storage}')).trim()).toBe('64Mi');
    const worker = cluster.guest(HERE);
    const sniffed = async (name: string): Promise<{ bytes: number; found: number }> => {
      const sniffer = await Sniffer.start(cluster, name);
      await ns.apply([pod(name, { claim: name, node: HERE, script: WRITER })]);
      await ns.ready(name, READY_MS);
      return await sniffer.stop(cluster);
    };
    await worker.start(WATCHER);
    const encrypted = await sniffed('data');
    await worker.exec('touch /tmp/look.stop');
    expect(encrypted.bytes).toBeGreaterThan(1 << 20);
    expect(encrypted.found).toBe(0);
    expect(await fileOn(HERE, '/tmp/look.out'), 'no process had the key in its arguments or its environment').toBe('0');
    expect(await fileOn(HERE, '/tmp/look.seen'), 'cryptsetup was seen at work').toMatch(/^[1-9]/m);
    expect((await sniffed('plain')).found, 'the sniffer finds what is in plain text').toBeGreaterThan(10);
    expect(await marksOnDisk('data')).toBe(0);
    expect(await marksOnDisk('plain')).toBeGreaterThan(0);
    await ns.said('data', /4000/);
    expect((await volumeOf('data')).status.luks).toStrictEqual({ uuid: (await volumeOf('data')).metadata.uid, state: 'Formatted' });
    const all = ['-l', 'app.kubernetes.io/name=aoe-csi', '--all-containers', '--tail=-1', '--since=15m', '--max-log-requests=40'];
    // There are none as long as one container is only starting.
    const logs = await poll('the logs of all containers', () => cluster.kubectl(['-n', NAMESPACE, 'logs', ...all]));
    expect(logs.length).toBeGreaterThan(1000);
    expect(logs).not.toContain(KEY);
    expect(await cluster.kubectl(['get', 'events,aoev,pv,volumeattachments', '-A', '-o', 'json'])).not.toContain(KEY);
    const records = await worker.exec(`grep -r -c -a ${KEY} /var/lib/kubelet/plugins/aoe.dev || true`);
    expect(records).not.toMatch(/:[1-9]/);
    await end('plain');
  });

  it('grows while it is mounted, without a pause for its pod', async () => {
    const patch = JSON.stringify({ spec: { resources: { requests: { storage: '128Mi' } } } });
    await ns.kubectl('patch', 'pvc', 'data', '--type=merge', '-p', patch);
    await poll(
      'the file system to grow',
      async () => ((await filesystemMiB('data')) > 100 ? true : undefined),
      () => cluster.kubectl(['-n', NAMESPACE, 'logs', '-l', 'app.kubernetes.io/component=node', '--tail=20']),
    );
    expect((await volumeOf('data')).status.capacity).toBe('144Mi');
    await ns.kubectl('wait', 'pvc', 'data', '--for=jsonpath={.status.capacity.storage}=128Mi', '--timeout=90s');
    expect((await ns.kubectl('get', 'pod', 'data', '-o', 'jsonpath={.status.phase}')).trim()).toBe('Running');
  });

  it('is read on another node, and closed where it was', async () => {
    expect(await mappingsOn(HERE)).toHaveLength(1);
    await end('data');
    await ns.apply([pod('reader', { claim: 'data', node: THERE, script: WRITER })]);
    await ns.ready('reader', READY_MS);
    await ns.said('reader', /4000/);
    expect(await filesystemMiB('reader')).toBeGreaterThan(100);
    expect(await mappingsOn(HERE)).toStrictEqual([]);
    await end('reader');
  });

  it('with a wrong key is one clear event, and opens when the key is right again', async () => {
    await ns.apply([secretOf('wrong')]);
    await ns.apply([pod('wrong', { claim: 'data', node: HERE, script: WRITER })]);
    await ns.event('wrong', 'FailedMount', /the passphrase does not open the LUKS header/);
    expect(await mappingsOn(HERE)).toStrictEqual([]);
    await ns.apply([secretOf(KEY)]);
    await ns.ready('wrong', READY_MS);
    await ns.said('wrong', /4000/);
    await end('wrong');
  });

  longTest('is encrypted once, and has one file system, when the node plugin is killed while it does that', async () => {
    await ns.apply([claim('killed', { storageClass: 'encryption-lvm' }), pod('killed', { claim: 'killed', node: HERE, script: WRITER })]);
    // Twice, as soon as cryptsetup is at work. The kubelet waits longer before each further restart.
    await cluster.guest(HERE).exec(
      `for i in 1 2; do
         for j in $(seq 600); do pgrep -x cryptsetup >/dev/null && break; sleep 0.1; done
         pkill -9 -f '/app/csi.js node' || true
         sleep 3
       done`,
      { timeoutMs: 240_000 },
    );
    await ns.ready('killed', READY_MS);
    await ns.said('killed', /4000/);
    expect(await marksOnDisk('killed')).toBe(0);
    const { metadata, status } = await volumeOf('killed');
    expect(status.luks).toStrictEqual({ uuid: metadata.uid, state: 'Formatted' });
    // While it is open, too.
    await cluster.guest(HERE).exec(`pkill -9 -f '/app/csi.js node'`);
    await ns.kubectl('exec', 'killed', '--', 'sh', '-c', 'echo after >> /data/marks && sync && tail -n 1 /data/marks');
    await end('killed');
    await poll('the mapping to be closed', async () => ((await mappingsOn(HERE)).length === 0 ? true : undefined));
  });

  longTest('with authentication is written once before its first use, cannot grow, and is read on another node', async () => {
    await ns.apply([
      claim('tags', { storageClass: 'encryption-authenticated' }),
      pod('tags', { claim: 'tags', node: HERE, script: WRITER }),
    ]);
    await ns.ready('tags', READY_MS);
    await ns.said('tags', /4000/);
    expect(await mappingsOn(HERE)).toHaveLength(2);
    const { metadata, spec, status } = await volumeOf('tags');
    expect(spec.encryption).toBe('LUKS2Authenticated');
    expect(status.luks).toStrictEqual({ uuid: metadata.uid, state: 'Formatted' });
    expect(await marksOnDisk('tags')).toBe(0);
    const patch = JSON.stringify({ spec: { resources: { requests: { storage: '128Mi' } } } });
    await ns.kubectl('patch', 'pvc', 'tags', '--type=merge', '-p', patch);
    await ns.event('tags', 'VolumeResizeFailed', /authenticated encryption, and cannot grow/);
    await end('tags');
    await ns.apply([pod('tags-again', { claim: 'tags', node: THERE, script: WRITER })]);
    await ns.ready('tags-again', READY_MS);
    await ns.said('tags-again', /4000/);
    expect(await mappingsOn(HERE)).toStrictEqual([]);
    await end('tags-again');
  });

  longTest('is cloned into a larger claim that opens with the same key; a class without encryption is refused', async () => {
    await ns.apply([claim('source', { storageClass: 'encryption-thin' }), pod('source', { claim: 'source', node: HERE, script: WRITER })]);
    await ns.ready('source', READY_MS);
    const source = { kind: 'PersistentVolumeClaim' as const, name: 'source' };
    await ns.apply([
      claim('clone', { storageClass: 'encryption-thin', size: '128Mi', source }),
      pod('clone', { claim: 'clone', node: HERE, script: WRITER }),
    ]);
    await ns.ready('clone', READY_MS);
    await ns.said('clone', /4000/);
    expect(await filesystemMiB('clone')).toBeGreaterThan(100);
    expect(await mappingsOn(HERE)).toHaveLength(2);
    await cluster.apply([storageClass('encryption-thin-plain', { pool: 'thin' }, 'Immediate')]);
    await ns.apply([claim('refused', { storageClass: 'encryption-thin-plain', source })]);
    await ns.event('refused', 'ProvisioningFailed', /is encrypted: a volume can be made of it only with/);
    await ns.kubectl('delete', 'pvc', 'refused');
    await cluster.kubectl(['delete', 'storageclass', 'encryption-thin-plain']);
    await end('clone', 'source');
  });

  longTest('in block mode is the mapping, and reads the same on another node', async () => {
    const command = `dd if=/dev/data bs=1M count=1 2>/dev/null | grep -c -a ${MARKER}`;
    const fill = `${command} || { ${write('/tmp/marks')}; dd if=/tmp/marks of=/dev/data conv=notrunc,fsync 2>/dev/null; }; ${command}; ${IDLE}`;
    await ns.apply([
      claim('block', { storageClass: 'encryption-lvm', volumeMode: 'Block' }),
      pod('block', { claim: 'block', node: HERE, script: fill, block: true }),
    ]);
    await ns.ready('block', READY_MS);
    const lines = (await ns.said('block', /^\d{4}$/m)).split('\n').at(-1);
    expect(Number(lines)).toBeGreaterThan(1000);
    expect(await marksOnDisk('block')).toBe(0);
    await end('block');
    await ns.apply([pod('block-again', { claim: 'block', node: THERE, script: `${command}; ${IDLE}`, block: true })]);
    await ns.ready('block-again', READY_MS);
    expect(await ns.said('block-again')).toBe(lines);
    await end('block-again');
  });

  longTest('that many nodes would write is refused before anything is made', async () => {
    await ns.apply([claim('many', { storageClass: 'encryption-lvm', accessMode: 'ReadWriteMany', volumeMode: 'Block' })]);
    await ns.event('many', 'ProvisioningFailed', /ReadWriteMany cannot be encrypted/);
    await ns.kubectl('delete', 'pvc', 'many');
  });

  longTest('is closed on a node that has lost it, once no container there has it open', async () => {
    await ns.apply([pod('old', { claim: 'data', node: HERE, script: WRITER })]);
    await ns.ready('old', READY_MS);
    expect(await mappingsOn(HERE)).toHaveLength(1);
    const guest = cluster.guest(HERE);
    await guest.exec('kill -STOP $(pidof kubelet)');
    await poll(`${HERE} to be given up`, async () => {
      const { status } = await cluster.getJson('node', HERE);
      return status.conditions.find(({ type }: { type: string }) => type === 'Ready').status === 'Unknown' ? true : undefined;
    });
    await ns.apply([pod('new', { claim: 'data', node: THERE, script: WRITER })]);
    await cluster.kubectl(['taint', 'node', HERE, `${TAINT}=nodeshutdown:NoExecute`]);
    await ns.ready('new', READY_MS);
    await ns.said('new', /4000/);
    // The kubelet, which stands still, would end the container.
    const message = await eventAbout(cluster, await ns.volumeOf('data'), 'StaleDiskInUse', /process \d+ \(sleep\)/);
    await guest.exec(`kill -KILL ${/process (\d+) \(sleep\)/.exec(message)?.[1]}`);
    await poll('the mapping to be closed', async () => ((await mappingsOn(HERE)).length === 0 ? true : undefined));
    await guest.exec('kill -CONT $(pidof kubelet)');
    await end('new');
  });
});
