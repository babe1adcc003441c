import { Cluster } from '../testbed/cluster.ts';
import { aoeSnapshot, aoeVolume, claim, pod, staticVolume, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** Writes numbers for as long as the pod runs, and never syncs them. */
const WRITER = 'touch /data/log /tmp/ready; n=0; while true; do n=$((n+1)); echo $n >> /data/log; sleep 0.05; done';
const NODE = 'worker-1';
const READY_MS = 90_000;

describe('snapshots of a frozen file system', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'freeze');
    await cluster.apply([storageClass('freeze-thin', { pool: 'thin' }, 'Immediate')]);
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'aoesnapshot', 'e2e-frozen', 'e2e-frozen-none', '--ignore-not-found', '--timeout=60s']);
    await ns?.delete();
    for (const kind of ['pv', 'aoev']) await cluster?.kubectl(['delete', kind, 'e2e-frozen-copy', '--ignore-not-found', '--timeout=60s']);
    await cluster?.kubectl(['delete', 'storageclass', 'freeze-thin', '--ignore-not-found']);
  });

  const last = async (of: string): Promise<number> => Number((await ns.kubectl('exec', of, '--', 'tail', '-n', '1', '/data/log')).trim());
  const goesOn = async (timeoutMs: number): Promise<void> => {
    const before = await last('writer');
    await cluster.poll(async () => ((await last('writer')) > before + 3 ? true : undefined), { timeoutMs, what: 'the writer to go on' });
  };
  const statusOf = async (name: string) => (await cluster.getJson('aoesnapshot', name)).status;
  const until = <T>(what: string, name: string, ask: (status: Awaited<ReturnType<typeof statusOf>>) => T | undefined): Promise<T> =>
    cluster.poll(async () => ask((await statusOf(name)) ?? {}), {
      timeoutMs: READY_MS,
      what: `${what} of snapshot ${name}`,
      explain: () => cluster.kubectl(['get', 'aoesnapshot', name, '-o', 'yaml']),
    });
  const ready = (name: string) => until('phase Ready', name, (status) => (status.phase === 'Ready' ? status : undefined));

  it('have what programs had written and not synced, and are mounted without a recovery; the program goes on', async () => {
    await ns.apply([claim('data', { storageClass: 'freeze-thin' }), pod('writer', { claim: 'data', script: WRITER, node: NODE })]);
    await ns.ready('writer', READY_MS);
    const volume = await ns.bound('data');
    await goesOn(60_000);
    const before = await last('writer');
    await cluster.apply([aoeSnapshot('e2e-frozen', volume, { freeze: true })]);
    const { freeze, frozen, nodeName } = await ready('e2e-frozen');
    expect(freeze).toMatchObject({ stage: 'Done', message: expect.stringMatching(`was frozen on node ${NODE} from`) });
    expect(frozen).toMatchObject({ nodeName: NODE, state: 'Thawed', throughout: true });
    await goesOn(30_000);
    const after = await last('writer');

    const source = { snapshot: 'e2e-frozen' };
    await cluster.apply([
      aoeVolume('e2e-frozen-copy', { capacity: '64Mi', pool: 'thin', source }),
      staticVolume('e2e-frozen-copy', { volume: 'e2e-frozen-copy', fsType: 'ext4' }),
    ]);
    // The kernel's log forgets old lines.
    const mark = `e2e-freeze ${Date.now()}`;
    await cluster.guest(nodeName).exec(`echo '${mark}' > /dev/kmsg`);
    const script = 'touch /tmp/ready; sleep 1d';
    await ns.apply([
      claim('copy', { storageClass: '', volumeName: 'e2e-frozen-copy' }),
      pod('reader', { claim: 'copy', script, node: nodeName }),
    ]);
    await ns.ready('reader', READY_MS);
    const read = await last('reader');
    expect(read).toBeGreaterThanOrEqual(before);
    expect(read).toBeLessThanOrEqual(after);
    const logged = await cluster.guest(nodeName).exec(`dmesg | sed -n '/${mark}/,$p'`);
    expect(logged).toContain(mark);
    expect(logged).not.toContain('recovery complete');
    await ns.kubectl('delete', 'pod', 'reader', '--grace-period=0', '--wait=true');
    await ns.kubectl('delete', 'pvc', 'copy', '--timeout=60s');
  });

  it('end although the node plugin is killed: the file system is thawed when it starts again', async () => {
    const { freeze } = await statusOf('e2e-frozen');
    // As its agent asks, which dies then.
    const asked = { id: 'e2e-of-a-dead-agent', stage: 'Freezing', nodeName: NODE };
    const patch = (value: object) =>
      cluster.kubectl([
        'patch',
        'aoesnapshot',
        'e2e-frozen',
        '--subresource=status',
        '--type=merge',
        '-p',
        JSON.stringify({ status: value }),
      ]);
    await patch({ freeze: asked });
    await until('the freeze', 'e2e-frozen', ({ frozen }) => (frozen?.id === asked.id && frozen.state === 'Frozen' ? true : undefined));
    const guest = cluster.guest(NODE);
    const records = `ls /var/lib/kubelet/plugins/aoe.dev/frozen`;
    expect(await guest.exec(records)).toMatch(/\.json/);
    const held = await last('writer');
    expect(await last('writer')).toBeLessThanOrEqual(held + 1);
    await guest.exec("kill -9 $(pgrep -f 'csi[.]js node')");
    await goesOn(60_000);
    await cluster.poll(async () => ((await guest.exec(records)).trim() === '' ? true : undefined), {
      timeoutMs: 30_000,
      what: 'no record',
    });
    await patch({ freeze: { ...freeze, nodeName: null } });
  });

  it('need no freeze of a volume that is attached nowhere', async () => {
    const volume = await ns.bound('data');
    await ns.kubectl('delete', 'pod', 'writer', '--grace-period=0', '--wait=true');
    await cluster.poll(
      async () => {
        const { spec, status } = await cluster.getJson('aoev', volume);
        return (spec.initiators?.nodes ?? []).length + (status.initiators?.nodes ?? []).length === 0 ? true : undefined;
      },
      { timeoutMs: READY_MS, what: 'the volume to be detached' },
    );
    await cluster.apply([aoeSnapshot('e2e-frozen-none', volume, { freeze: true })]);
    const { freeze, frozen } = await ready('e2e-frozen-none');
    expect(freeze.message).toMatch(/attached to no node/);
    expect(frozen).toBeUndefined();
  });
});
