import { Cluster } from '../testbed/cluster.ts';
import { RUN } from '../testbed/paths.ts';
import { longTest } from './long.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const [OLD, NEW, WORKER] = ['storage-1', 'storage-2', 'worker-1'];
const POOL = 'e2e-moved';
const LABEL = 'e2e.aoe.dev/moved';
const DIRECTORY = `/var/lib/aoe-csi/pools/${POOL}`;
const DEADSECS = '/sys/module/aoe/parameters/aoe_deadsecs';
const WRITER = 'dd if=/dev/urandom of=/data/mark bs=64k count=64 2>/dev/null; sync; touch /tmp/ready; sleep 3600';
const READER = 'md5sum < /data/mark; touch /tmp/ready; sleep 3600';

/** The disks of a storage node that is gone are in another one: its volumes are served there, when a person asks for it. */
describe('disks in another machine', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'moved');
    const spec = { backend: 'file', directory: DIRECTORY, nodeSelector: { [LABEL]: 'yes' } };
    await cluster.apply([
      { apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name: POOL }, spec },
      storageClass('moved', { pool: POOL }, 'Immediate'),
    ]);
    await cluster.kubectl(['label', 'node', OLD, `${LABEL}=yes`]);
    await moveController();
    await cluster.guest(WORKER).exec(`modprobe aoe; echo 10 > ${DEADSECS}`);
  });
  afterAll(async () => {
    await cluster?.restore();
    await ns?.delete();
    await cluster?.guest(WORKER).exec(`echo 180 > ${DEADSECS}`);
    await cluster?.kubectl(['delete', 'storageclass/moved', `aoep/${POOL}`, '--ignore-not-found']);
    for (const node of [OLD, NEW]) {
      await cluster?.kubectl(['label', 'node', node, `${LABEL}-`]);
      await cluster?.guest(node).exec(`rm -rf ${DIRECTORY} /host/moved`);
    }
  });

  /** The controller must not be on the node that is lost. */
  const moveController = async () => {
    await cluster.kubectl(['cordon', OLD]);
    await cluster.kubectl(['-n', 'aoe-csi', 'delete', 'pod', '-l', 'app.kubernetes.io/component=controller', '--grace-period=1']);
    await cluster.kubectl(['-n', 'aoe-csi', 'rollout', 'status', 'deployment/aoe-csi-controller', '--timeout=120s'], {
      timeoutMs: 130_000,
    });
    await cluster.kubectl(['uncordon', OLD]);
  };
  const explain = (volume: string) => async () =>
    [
      await cluster.kubectl(['get', 'aoev', volume, '-o', 'yaml']),
      await cluster.kubectl(['get', 'aoep', POOL, '-o', 'yaml']),
      await cluster.kubectl(['get', 'volumeattachments', '-o', 'wide']),
    ].join('\n');
  const ready = (volume: string, reason: string, message: RegExp) =>
    cluster.poll(
      async () => {
        const { status } = await cluster.getJson('aoev', volume);
        const found = status?.conditions?.find(({ type }: { type: string }) => type === 'Ready');
        return found?.reason === reason && message.test(found.message) ? true : undefined;
      },
      { timeoutMs: 90_000, what: `${volume} to say ${reason}: ${message}`, explain: explain(volume) },
    );
  const annotate = (volume: string, annotation: string) => cluster.kubectl(['annotate', 'aoev', volume, '--overwrite', annotation]);
  /** Asks for a move, until it is refused. Events of earlier requests are there, too: the one of this request names the place. */
  const refused = async (volume: string, to: string, why: string) => {
    await annotate(volume, `aoe.dev/move-to=${to}`);
    await eventAbout(cluster, volume, 'MoveRefused', new RegExp(`^annotation aoe.dev/move-to="${to}" was removed .*: ${why}`));
  };
  /** Until the agent on a node reports data of this UID as displaced. */
  const displaced = (node: string, uid: string) =>
    cluster.poll(
      async () => {
        const { status } = await cluster.getJson('aoep', POOL);
        const entry = status?.nodes?.find(({ name }: { name: string }) => name === node);
        return entry?.displacedVolumes?.some((each: { uid: string }) => each.uid === uid) ? true : undefined;
      },
      { timeoutMs: 120_000, what: `${node} to report ${uid}`, explain: () => cluster.kubectl(['get', 'aoep', POOL, '-o', 'yaml']) },
    );

  /** What each process of a node that cannot be interrupted waits for, by the kernel's own account. */
  const stuck = (node: string) =>
    cluster
      .guest(node)
      .exec(
        `for p in /proc/[0-9]*; do
           case "$(cut -d')' -f2- $p/stat 2>/dev/null)" in ' D'*) echo "$p $(tr '\\0' ' ' < $p/cmdline)"; cat $p/stack;; esac
         done; cat /sys/block/etherd*/state; dmesg | tail -20`,
      )
      .catch((error: unknown) => `${node} does not answer: ${String(error)}`);

  longTest(
    'are served there with all data once a person asks for it, and the old node comes back with its copy and serves nothing',
    async () => {
      await ns.apply([claim('data', { storageClass: 'moved' }), pod('writer', { claim: 'data', node: WORKER, script: WRITER })]);
      await ns.ready('writer', 90_000);
      const sum = (await ns.kubectl('exec', 'writer', '--', 'md5sum', '/data/mark')).slice(0, 32);
      const volume = await ns.volumeOf('data');
      const before = await cluster.getJson('aoev', volume);
      const { uid } = before.metadata;
      expect(before.spec.nodeName).toBe(OLD);

      // What is wrong about a request changes nothing.
      await refused(volume, NEW, 'VolumeAttachment .* says that it is attached to node');
      await refused(volume, 'nowhere/x/y', 'write NODE or NODE/POOL');
      expect((await cluster.getJson('aoev', volume)).spec).toStrictEqual(before.spec);

      // The disk goes into the other machine, and a copy of it stays.
      const mount = `$(grep -m1 '^/dev/etherd/${before.status.address} ' /proc/mounts | cut -d' ' -f2)`;
      await cluster.guest(WORKER).exec(`fsfreeze -f ${mount}`);
      await cluster.guest(OLD).exec(`sync; cp -a --sparse=always ${DIRECTORY} /host/moved; sync`);
      await cluster.guest(WORKER).exec(`fsfreeze -u ${mount}`);
      await cluster.guest(OLD).crash();
      await cluster.guest(NEW).exec(`cp -a --sparse=always ${RUN}/${OLD}/moved ${DIRECTORY}; sync`);
      await cluster.kubectl(['label', 'node', NEW, `${LABEL}=yes`]);
      await displaced(NEW, uid);
      expect((await cluster.getJson('aoev', volume)).spec.nodeName, 'nothing happens by itself').toBe(OLD);

      // As docs/recovery.md, "Disks in another machine", says.
      await cluster.kubectl(['delete', 'node', OLD]);
      await cluster.kubectl(['wait', '--for=delete', `aoenode/${OLD}`, '--timeout=90s']);
      await annotate(volume, `aoe.dev/move-to=${NEW}`);
      await ready(
        volume,
        'MoveWaits',
        /attached to node worker-1: delete the pods that use it, and confirm .* aoe\.dev\/give-up=storage-1/,
      );
      await annotate(volume, `aoe.dev/give-up=${OLD}`);
      await ns.kubectl('delete', 'pod', 'writer');
      await ready(volume, 'Exported', /exported by storage-2/);
      const after = await cluster.getJson('aoev', volume);
      expect(after.spec).toMatchObject({ nodeName: NEW, pool: POOL, moves: 1 });
      expect(after.metadata.annotations).not.toHaveProperty('aoe.dev/give-up');
      expect(after.status.address).not.toBe(before.status.address);
      expect(after.status.serial).toBe(`${before.status.serial.slice(0, 18)}-1`);
      const moved = `from node ${OLD}, pool ${POOL}, ${before.status.address} to node ${NEW}`;
      expect(await eventAbout(cluster, volume, 'Moved')).toContain(moved);

      await ns.apply([pod('reader', { claim: 'data', node: WORKER, script: READER })]);
      await ns.ready('reader', 90_000).catch(async (error: unknown) => {
        throw new Error(`${String(error)}\n${await stuck(WORKER)}`, { cause: error });
      });
      expect((await ns.said('reader')).slice(0, 32)).toBe(sum);
      await ns.kubectl('exec', 'reader', '--', 'sh', '-c', 'echo later > /data/later && sync');

      // The old node comes back: its target serves from its own state until its agent says otherwise.
      const state = '/var/lib/aoe-csi/target';
      await cluster.reboot(OLD);
      expect(await cluster.guest(OLD).exec(`grep -rl ${uid} ${state}`)).not.toBe('');
      await cluster.waitNodesReady();
      await cluster.kubectl(['label', 'node', OLD, `${LABEL}=yes`]);
      await cluster.poll(async () => ((await cluster.guest(OLD).exec(`grep -rl ${uid} ${state} || true`)) === '' ? true : undefined), {
        timeoutMs: 90_000,
        what: `${OLD} to serve ${volume} no longer`,
        explain: () => cluster.guest(OLD).exec(`ls -l ${state}`),
      });
      await displaced(OLD, uid);
      await refused(volume, OLD, 'VolumeAttachment .* says that it is attached to node');
      expect((await cluster.getJson('aoev', volume)).spec.nodeName).toBe(NEW);
      // Nothing of this touched the pod at the new place.
      const read = await ns.kubectl('exec', 'reader', '--', 'sh', '-c', 'md5sum < /data/mark; cat /data/later');
      expect(read.trim().split(/\s+/)).toStrictEqual([sum, '-', 'later']);
      const worker = await cluster.guest(WORKER).exec('grep -o "etherd/e[0-9.]*" /proc/mounts | sort -u');
      expect(worker).not.toContain(`etherd/${before.status.address}\n`);
    },
    480_000,
  );
});
