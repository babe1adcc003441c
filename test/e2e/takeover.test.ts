import { Cluster, OUT_OF_SERVICE as TAINT } from '../testbed/cluster.ts';
import { longTest } from './long.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const [OLD, NEW] = ['worker-1', 'storage-2'];
/** More of them give a median worth the name. */
const ROUNDS = Number(process.env.ROUNDS ?? 1);
const KEEPER = 'cat /data/mark 2>/dev/null; hostname > /data/mark; sync; touch /tmp/ready; sleep 3600';
/** Kubernetes' own collector of dead pods looks each 20 s: what comes before it is not ours. */
const RELEASE_MS = 40_000;

/** Takeover of an Exclusive volume from a node that Kubernetes gave up: promise 2, "Exclusive means exclusive". */
describe('takeover', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'takeover');
    await cluster.apply([storageClass('takeover', { pool: 'lvm' }, 'Immediate')]);
    await moveController();
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'takeover', '--ignore-not-found']);
  });

  // What one test did to a node is not the next one's trouble.
  afterEach(() => cluster.restore());

  /** The controller must not be on the node that is lost: with one replica, its own move would be measured. */
  const moveController = async () => {
    const select = ['-n', 'aoe-csi', '-l', 'app.kubernetes.io/component=controller'];
    const where = () => cluster.kubectl(['get', 'pod', ...select, '-o', 'jsonpath={.items[*].spec.nodeName}']);
    if (!(await where()).includes(OLD)) return;
    await cluster.kubectl(['cordon', OLD]);
    await cluster.kubectl(['delete', 'pod', ...select, '--grace-period=1']);
    await cluster.kubectl(['-n', 'aoe-csi', 'rollout', 'status', 'deployment/aoe-csi-controller', '--timeout=120s']);
    await cluster.kubectl(['uncordon', OLD]);
  };

  const nodeReady = async () => {
    const { status } = await cluster.getJson('node', OLD);
    return status.conditions.find(({ type }: { type: string }) => type === 'Ready').status as string;
  };
  const becomes = (state: 'True' | 'Unknown') =>
    cluster.poll(async () => ((await nodeReady()) === state ? true : undefined), {
      timeoutMs: 90_000,
      what: `condition Ready of ${OLD} to be ${state}`,
      intervalMs: 500,
    });
  const comesBack = async () => {
    await becomes('True');
    await cluster.kubectl(['taint', 'node', OLD, `${TAINT}-`]);
  };

  /** Runs `old` on one node, and has `next` wait for the volume on another. */
  const prepare = async (name: string) => {
    await ns.apply([claim(name, { storageClass: 'takeover' }), pod(`${name}-old`, { claim: name, node: OLD, script: KEEPER })]);
    await ns.ready(`${name}-old`, 150_000);
    const volume = await ns.volumeOf(name);
    return { volume, address: (await cluster.getJson('aoev', volume)).status.address as string };
  };

  /** Says that the node is out of service. Gives the seconds from there until the new pod is Ready. */
  const takeOver = async (name: string) => {
    await ns.apply([pod(`${name}-new`, { claim: name, node: NEW, script: KEEPER })]);
    const start = performance.now();
    await cluster.kubectl(['taint', 'node', OLD, `${TAINT}=nodeshutdown:NoExecute`]);
    const gone = async () =>
      (await ns.kubectl('get', 'pod', `${name}-old`, '--ignore-not-found', '-o', 'name')) === '' ? true : undefined;
    await cluster.poll(gone, { timeoutMs: RELEASE_MS, what: `Kubernetes to give up pod ${name}-old`, intervalMs: 100 });
    const released = performance.now();
    const ready = async () => {
      const path = '-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}';
      return (await ns.kubectl('get', 'pod', `${name}-new`, path)) === 'True' ? true : undefined;
    };
    await cluster.poll(ready, {
      timeoutMs: 60_000,
      what: `pod ${name}-new to be Ready on ${NEW}`,
      intervalMs: 100,
      explain: () => ns.kubectl('describe', 'pod', `${name}-new`),
    });
    const times = { release: (released - start) / 1000, takeover: (performance.now() - released) / 1000 };
    console.log(`${name}: taint to release ${times.release.toFixed(1)} s, release to Ready ${times.takeover.toFixed(1)} s`);
    return times.release + times.takeover;
  };

  const story = async (volume: string) => {
    const list = JSON.parse(
      await cluster.kubectl(['-n', 'default', 'get', 'events', '--field-selector', `involvedObject.name=${volume}`, '-o', 'json']),
    );
    return (list.items as { reason: string; message: string }[]).map(({ reason, message }) => `${reason}: ${message}`).join('\n');
  };

  /** Nothing of the volume is left on the node: no mount, no record of ours, no disk. */
  const cleanOn = async (node: string, volume: string, address: string) => {
    const look = `grep -c '/dev/etherd/${address} ' /proc/mounts || true; ls /var/lib/kubelet/plugins/aoe.dev/volumes 2>/dev/null | grep -c '${volume}' || true; ls /sys/block | grep -cx 'etherd!${address}' || true`;
    await cluster.poll(async () => ((await cluster.guest(node).exec(look)).trim().split(/\s+/).join() === '0,0,0' ? true : undefined), {
      timeoutMs: 120_000,
      intervalMs: 1_000,
      what: `${node} to be rid of ${volume} at ${address}`,
      explain: () => cluster.guest(node).exec(`${look}; grep etherd /proc/mounts || true`),
    });
  };

  it('of a crashed node has the new pod Ready soon after the taint, with the data, and reports it in events', async () => {
    const takeovers: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const name = `crash-${round}`;
      const { volume } = await prepare(name);
      await cluster.guest(OLD).crash();
      await becomes('Unknown');
      takeovers.push(await takeOver(name));
      // The data of the old pod is there.
      await ns.said(`${name}-new`, new RegExp(`${name}-old`));
      await eventAbout(
        cluster,
        volume,
        'DetachedInUse',
        new RegExp(`^detached from node ${OLD}, which has the lock since .* out of service`),
      );
      await eventAbout(cluster, volume, 'Fenced', new RegExp(`^node ${OLD}`));
      await eventAbout(cluster, volume, 'LockTaken', new RegExp(`^the lock is held by node ${NEW}`));
      await ns.kubectl('delete', 'pod', `${name}-new`);
      await cluster.reboot(OLD);
      await comesBack();
    }
    const median = takeovers.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
    console.log(`taint to Ready: median ${median.toFixed(1)} s of ${ROUNDS}`);
  });

  it('from a node whose kubelet is silent cuts off what still runs there, and the node plugin cleans up', async () => {
    const { volume, address } = await prepare('silent');
    const guest = cluster.guest(OLD);
    // What the old host does with the disk, behind Kubernetes' back, until the first error.
    await guest.start(
      `d=$(grep -m1 '^/dev/etherd/${address} ' /proc/mounts | cut -d' ' -f2)
       while dd if=/dev/zero of=$d/intruder bs=4k count=1 oflag=direct conv=notrunc 2>/tmp/intruder.err; do date +%s.%N > /tmp/intruder.last; done
       date +%s.%N > /tmp/intruder.end`,
    );
    await guest.exec('kill -STOP $(pidof kubelet)');
    await becomes('Unknown');
    await takeOver('silent');
    await cluster.poll(async () => ((await guest.exec('cat /tmp/intruder.end 2>/dev/null || true')) !== '' ? true : undefined), {
      timeoutMs: 30_000,
      what: 'the writer on the old host to get an error',
    });
    expect(await guest.exec('cat /tmp/intruder.err')).toMatch(/Input\/output error|Read-only file system/);
    await cluster.poll(
      async () => ((await guest.exec(`grep -c '/dev/etherd/${address} ' /proc/mounts || true`)).trim() === '0' ? true : undefined),
      {
        timeoutMs: 120_000,
        what: 'the node plugin to take the stale mounts off',
      },
    );
    await guest.exec('kill -CONT $(pidof kubelet)');
    await comesBack();
    await cleanOn(OLD, volume, address);
    await ns.kubectl('exec', 'silent-new', '--', 'sh', '-c', 'echo fine > /data/after && sync && cat /data/after');
    await ns.kubectl('delete', 'pod', 'silent-new');
  });

  longTest('from a node that hangs and comes back lets not one write of it through', async () => {
    const { volume, address } = await prepare('hang');
    const guest = cluster.guest(OLD);
    await guest.pause();
    await becomes('Unknown');
    await takeOver('hang');
    const sum = () => ns.kubectl('exec', 'hang-new', '--', 'sh', '-c', 'md5sum < /data/mark');
    const before = await sum();
    await guest.resume();
    await comesBack();
    await cleanOn(OLD, volume, address);
    expect(await sum()).toBe(before);
    await cluster.heldBy(volume, NEW);
  });

  longTest('from a Node that was deleted, and its attachment with it, cuts off the node that no longer exists', async () => {
    const { volume } = await prepare('deleted');
    const attachments = JSON.parse(await cluster.kubectl(['get', 'volumeattachments', '-o', 'json']));
    const [attachment] = attachments.items.filter(
      ({ spec }: { spec: { nodeName: string; source: { persistentVolumeName: string } } }) =>
        spec.nodeName === OLD && spec.source.persistentVolumeName === volume,
    );
    await cluster.guest(OLD).crash();
    await cluster.kubectl(['delete', 'node', OLD]);
    await cluster.poll(async () => ((await cluster.kubectl(['get', 'aoenode', OLD, '--ignore-not-found'])) === '' ? true : undefined), {
      timeoutMs: 60_000,
      what: `the AoENode of ${OLD} to go with its Node`,
    });
    // As an impatient person does. ControllerUnpublishVolume is not called then.
    const { name } = attachment.metadata;
    await cluster.kubectl(['patch', 'volumeattachment', name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
    await cluster.kubectl(['delete', 'volumeattachment', name, '--ignore-not-found']);
    const free = async () => {
      const { spec, status } = await cluster.getJson('aoev', volume);
      return spec.initiators.nodes === undefined && status.holder === undefined ? true : undefined;
    };
    // Kubernetes may try to attach it there once more, as long as it has not collected the pod: no node is there to attach to.
    const explain = async () => `${await story(volume)}\n${await cluster.kubectl(['get', 'volumeattachments', '-o', 'yaml'])}`;
    await cluster.poll(free, { timeoutMs: 150_000, what: `${volume} to be free`, explain });
    await cluster.poll(
      async () =>
        new RegExp(`InitiatorGone: node ${OLD} no longer exists|DetachedInUse: detached from node ${OLD}`).test(await story(volume)) ||
        undefined,
      { timeoutMs: 60_000, what: `an event that says why ${OLD} is detached`, explain },
    );
    await eventAbout(cluster, volume, 'Fenced', new RegExp(`^node ${OLD}`));
    await cluster.reboot(OLD);
    await cluster.poll(async () => ((await nodeReady().catch(() => '')) === 'True' ? true : undefined), {
      timeoutMs: 120_000,
      what: `${OLD} to register again`,
      intervalMs: 500,
    });
    // The next test file finds a node that can mount volumes.
    await cluster.rolledOut('aoe-csi');
  });
});
