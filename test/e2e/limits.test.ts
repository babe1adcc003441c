import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { claim, pod, RECORDER, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const READY_MS = 180_000;
const MiB = 1 << 20;
const NODE = 'worker-1';
const CLASSES: Record<string, Record<string, string>> = {
  'limits-slow': { readBytesPerSecond: '1Mi' },
  'limits-fast': { readBytesPerSecond: '2Mi', writeIOPS: '2000' },
  // It names what the others set: a class changes nothing else.
  'limits-none': { readBytesPerSecond: 'none', writeIOPS: 'none' },
  'limits-wrong': { iops: '0' },
};

function attributesClass(name: string) {
  const parameters = CLASSES[name];
  return { apiVersion: 'storage.k8s.io/v1', kind: 'VolumeAttributesClass', metadata: { name }, driverName: 'aoe.dev', parameters };
}

/** Promise 10. */
describe('limits of a claim', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'limits');
    await cluster.apply([storageClass('limits', { pool: 'thin' }, 'Immediate'), ...Object.keys(CLASSES).map(attributesClass)]);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'limits', '--ignore-not-found']);
    await cluster?.kubectl(['delete', 'volumeattributesclass', ...Object.keys(CLASSES), '--ignore-not-found']);
  });

  const change = (name: string): Promise<string> =>
    ns.kubectl('patch', 'pvc', 'data', '--type=merge', '-p', JSON.stringify({ spec: { volumeAttributesClassName: name } }));
  const has = (name: string): Promise<string> =>
    ns.kubectl('wait', 'pvc', 'data', `--for=jsonpath={.status.currentVolumeAttributesClassName}=${name}`, '--timeout=120s');
  const limitsOf = (volume: string, wanted: Record<string, unknown>) =>
    cluster.volumeUntil(volume, `limits ${JSON.stringify(wanted)}`, ({ status }) =>
      Object.entries(wanted).every(([name, value]) => status.limits?.[name] === value),
    );
  /** Bytes a second that the node reads from the disk, past its cache, in the second half of so many MiB. */
  const speed = async (address: string, mib: number): Promise<number> => {
    const read = (skip: number) =>
      `dd if=/dev/etherd/${address} of=/dev/null bs=64k iflag=direct,skip_bytes skip=${skip} count=${mib * 8} status=none`;
    const half = (mib / 2) * MiB;
    const seconds = await cluster
      .guest(NODE)
      .exec(`${read(0)}; a=$(date +%s.%N); ${read(half)}; b=$(date +%s.%N); echo "$b - $a" | tr -d '\\n'`, { timeoutMs: 120_000 });
    const [to = 0, from = 0] = seconds.split(' - ').map(Number);
    return half / (to - from);
  };
  /**
   * The speeds of up to four readings, the highest first, until two are more than `least`: a node that has no processor for some tenths of a
   * second reads less, and never more.
   */
  const speeds = async (address: string, mib: number, least: number): Promise<number[]> => {
    const found: number[] = [];
    while (found.length < 4 && found.filter((each) => each > least).length < 2) found.push(await speed(address, mib));
    return found.toSorted((a, b) => b - a);
  };
  const expectSpeed = async (address: string, bytes: number, mib: number): Promise<void> => {
    const found = (await speeds(address, mib, 0.85 * bytes)).map((each) => each / bytes);
    const [best, second] = found;
    const all = `of the limit: ${found.map((each) => each.toFixed(2)).join(', ')}`;
    expect(second, all).toBeGreaterThan(0.85);
    expect(best, all).toBeLessThan(1.15);
  };

  it('are those of its class from the start, and of another class while a pod writes, and outlive a restart of the target', async () => {
    const limited = claim('data', { storageClass: 'limits' });
    await ns.apply([
      { ...limited, spec: { ...limited.spec, volumeAttributesClassName: 'limits-slow' } } as typeof limited,
      pod('writer', { claim: 'data', node: NODE, script: RECORDER }),
    ]);
    await ns.ready('writer', READY_MS);
    const volume = await ns.volumeOf('data');
    const { spec, status } = await limitsOf(volume, { readBytesPerSecond: '1Mi' });
    expect(spec.limits).toStrictEqual({ readBytesPerSecond: '1Mi' });
    await expectSpeed(status.address, MiB, 16);

    await change('limits-fast');
    await has('limits-fast');
    await limitsOf(volume, { readBytesPerSecond: '2Mi', writeIOPS: 2000 });
    await expectSpeed(status.address, 2 * MiB, 16);

    const onNode = ['-l', 'app.kubernetes.io/component=target', '--field-selector', `spec.nodeName=${spec.nodeName}`];
    const before = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pod', ...onNode, '-o', 'name']);
    await cluster.kubectl(['-n', NAMESPACE, 'delete', 'pod', ...onNode, '--grace-period=1']);
    await cluster.poll(
      async () => {
        const ready = 'jsonpath={.items[?(@.status.containerStatuses[0].ready==true)].metadata.name}';
        const now = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pod', ...onNode, '-o', ready]);
        return now !== '' && !before.includes(now) ? true : undefined;
      },
      { timeoutMs: 90_000, what: 'the target to be Ready again' },
    );
    await expectSpeed(status.address, 2 * MiB, 16);

    await change('limits-wrong');
    await ns.kubectl('wait', 'pvc', 'data', '--for=jsonpath={.status.modifyVolumeStatus.status}=Infeasible', '--timeout=120s');
    await ns.event('data', 'VolumeModifyFailed', /iops is "0"/);
    expect((await cluster.getJson('aoev', volume)).spec.limits).toMatchObject({ readBytesPerSecond: '2Mi' });

    await change('limits-none');
    await has('limits-none');
    await cluster.volumeUntil(volume, 'no limits', (now) => now.status.limits === undefined);
    expect((await speeds(status.address, 16, 3 * MiB))[1]).toBeGreaterThan(3 * MiB);
    expect((await ns.kubectl('get', 'pod', 'writer', '-o', 'jsonpath={.status.phase}')).trim(), 'no write has failed').toBe('Running');
  });
});
