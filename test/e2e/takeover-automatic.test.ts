import { Cluster } from '../testbed/cluster.ts';
import { installChart, notOn } from '../testbed/install.ts';
import { LONG, longTest } from './long.ts';
import { statefulSet, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const OLD = 'worker-1';
const KEEPER = 'cat /data/mark 2>/dev/null; hostname >> /data/mark; sync; touch /tmp/ready; sleep 3600';
/** Kubernetes finds out within two minutes that an attachment is gone that it did not delete itself. */
const TAKEOVER_MS = 240_000;

/** Promise 2, "Exclusive means exclusive", without a person: no taint, and no quorum. */
describe('automatic takeover', () => {
  let cluster: Cluster;
  let ns: Namespace;

  beforeAll(async () => {
    if (!LONG) return;
    cluster = await Cluster.attach();
    await install({ after: '30s' });
    ns = await Namespace.create(cluster, 'takeover-auto');
    await cluster.apply([
      storageClass('takeover-auto', { pool: 'lvm' }, 'Immediate'),
      storageClass('takeover-own', { pool: 'lvm', takeoverAfter: '20s' }, 'Immediate'),
    ]);
  });

  afterAll(async () => {
    if (!cluster) return;
    await installChart(cluster);
    await ns?.delete();
    await cluster.kubectl(['delete', 'storageclass', 'takeover-auto', 'takeover-own', '--ignore-not-found']);
  });

  afterEach(() => cluster?.restore());

  const install = (takeover: { after: string } | { enabled: true }) => installChart(cluster, { takeover, controller: notOn(OLD) });

  interface Pod {
    metadata: { uid: string };
    spec: { nodeName?: string };
    status: { conditions?: { type: string; status: string }[] };
  }
  const podOf = async (name: string): Promise<Pod | undefined> => {
    const text = await ns.kubectl('get', 'pod', `${name}-0`, '--ignore-not-found', '-o', 'json');
    return text === '' ? undefined : (JSON.parse(text) as Pod);
  };
  const isReady = (pod: Pod | undefined) =>
    pod?.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  const prepare = async (name: string, storageClassName = 'takeover-auto') => {
    await ns.apply([statefulSet(name, { storageClass: storageClassName, node: OLD, script: KEEPER })]);
    await ns.ready(`${name}-0`, 150_000);
    const pod = await podOf(name);
    expect(pod?.spec.nodeName).toBe(OLD);
    const volume = await ns.volumeOf(`data-${name}-0`);
    return { uid: pod?.metadata.uid, volume, address: (await cluster.getJson('aoev', volume)).status.address as string };
  };
  const becomes = (state: 'True' | 'Unknown') =>
    cluster.poll(
      async () => {
        const { status } = await cluster.getJson('node', OLD);
        return (
          status.conditions.some(({ type, status: now }: { type: string; status: string }) => type === 'Ready' && now === state) ||
          undefined
        );
      },
      { timeoutMs: 150_000, what: `condition Ready of ${OLD} to be ${state}`, intervalMs: 500 },
    );
  /** Waits for the new pod, and prints how long each part took. */
  const takenOver = async (name: string, { uid, volume }: { uid: string | undefined; volume: string }) => {
    const start = performance.now();
    const since = () => ((performance.now() - start) / 1000).toFixed(1);
    const wait = (what: string, until: () => Promise<true | undefined>) =>
      cluster.poll(until, { timeoutMs: TAKEOVER_MS, intervalMs: 200, what, explain: () => ns.kubectl('describe', 'pod', `${name}-0`) });
    await wait(
      `${volume} to be taken from ${OLD}`,
      async () => !(await cluster.getJson('aoev', volume)).spec.initiators.nodes?.includes(OLD) || undefined,
    );
    const cutOff = since();
    await wait(`a new pod ${name}-0`, async () => ![undefined, uid].includes((await podOf(name))?.metadata.uid) || undefined);
    const made = since();
    await wait(`pod ${name}-0 to be Ready elsewhere`, async () => isReady(await podOf(name)) || undefined);
    expect((await podOf(name))?.spec.nodeName).not.toBe(OLD);
    console.log(`${name}: not Ready to cut off ${cutOff} s, to a new pod ${made} s, to Ready ${since()} s`);
  };

  longTest('gives the volume of a crashed node to a new pod of its StatefulSet, with the data, without a taint', async () => {
    const before = await prepare('crash');
    const start = performance.now();
    await cluster.guest(OLD).crash();
    await becomes('Unknown');
    console.log(`crash to not Ready ${((performance.now() - start) / 1000).toFixed(1)} s`);
    await takenOver('crash', before);
    expect(await ns.kubectl('exec', 'crash-0', '--', 'cat', '/data/mark')).toBe('crash-0\ncrash-0\n');
    await cluster.reboot(OLD);
    await becomes('True');
  });

  longTest('leaves a node alone whose kubelet is silent while the targets hear it', async () => {
    const { uid, volume } = await prepare('heard');
    const guest = cluster.guest(OLD);
    await guest.exec('kill -STOP $(pidof kubelet)');
    await becomes('Unknown');
    const questions = new Set<string>();
    await cluster.poll(
      async () => {
        const question = (await cluster.getJson('aoenode', OLD)).status.suspicion?.question as string | undefined;
        if (question !== undefined) questions.add(question);
        return questions.size >= 3 || undefined;
      },
      { timeoutMs: 180_000, what: 'the operator to ask three times', intervalMs: 500 },
    );
    expect((await cluster.getJson('aoev', volume)).spec.initiators.nodes).toStrictEqual([OLD]);
    expect((await podOf('heard'))?.metadata.uid).toBe(uid);
    await guest.exec('kill -CONT $(pidof kubelet)');
    await becomes('True');
    await ns.kubectl('exec', 'heard-0', '--', 'sh', '-c', 'echo fine > /data/after && sync');
  });

  longTest('lets not one write of a node through that hangs and comes back', async () => {
    const before = await prepare('hang');
    const guest = cluster.guest(OLD);
    await guest.pause();
    await becomes('Unknown');
    await takenOver('hang', before);
    const sum = () => ns.kubectl('exec', 'hang-0', '--', 'md5sum', '/data/mark');
    const first = await sum();
    await guest.resume();
    await becomes('True');
    await cluster.poll(
      async () => (await guest.exec(`grep -c '/dev/etherd/${before.address} ' /proc/mounts || true`)).trim() === '0' || undefined,
      {
        timeoutMs: 150_000,
        what: `${OLD} to be rid of ${before.volume}`,
      },
    );
    expect(await sum()).toBe(first);
    expect((await cluster.getJson('aoev', before.volume)).status.holder.node).not.toBe(OLD);
  });

  // The last one: the others need a time for the cluster.
  longTest('takes only the volume with a takeoverAfter of its own where the cluster has no time', async () => {
    await install({ enabled: true });
    const own = await prepare('own', 'takeover-own');
    const none = await prepare('none');
    const specOf = async ({ volume }: { volume: string }) => (await cluster.getJson('aoev', volume)).spec;
    expect([(await specOf(own)).takeoverAfter, (await specOf(none)).takeoverAfter]).toStrictEqual(['20s', undefined]);
    await cluster.guest(OLD).crash();
    await becomes('Unknown');
    await takenOver('own', own);
    await eventAbout(cluster, own.volume, 'TakenOver', new RegExp(`^taken from node ${OLD}: `));
    expect(await ns.kubectl('exec', 'own-0', '--', 'cat', '/data/mark')).toBe('own-0\nown-0\n');
    await cluster.poll(async () => (await cluster.getJson('aoenode', OLD)).status.suspicion === undefined || undefined, {
      timeoutMs: 60_000,
      what: `the operator to have nothing more to take from ${OLD}`,
    });
    expect((await specOf(none)).initiators.nodes).toStrictEqual([OLD]);
    expect((await podOf('none'))?.metadata.uid).toBe(none.uid);
    // It goes on where it was, with its data.
    await cluster.reboot(OLD);
    await becomes('True');
    const mark = () => ns.kubectl('exec', 'none-0', '--', 'cat', '/data/mark');
    await cluster.poll(async () => /^(none-0\n){2,}$/.test(await mark()) || undefined, {
      timeoutMs: TAKEOVER_MS,
      what: 'pod none-0 to have started again',
      explain: () => ns.kubectl('describe', 'pod', 'none-0'),
    });
    expect((await specOf(none)).initiators.nodes).toStrictEqual([OLD]);
  });
});
