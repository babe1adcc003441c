import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from './certificates.ts';
import { startApiServer, startControllers, startEtcd, startSnapshotController } from './control-plane.ts';
import { filledDisk } from './disk.ts';
import { Guest, type GuestOptions } from './guest.ts';
import { ourArchive } from './image/images.ts';
import { KIT } from './kit.ts';
import { makeNetwork, removeNetwork } from './network.ts';
import { startContainerd, startKubelet } from './node.ts';
import { RUN, SHM } from './paths.ts';
import { PATIENCE } from './process/patience.ts';
import { killRecorded } from './process/processes.ts';
import { CommandError, type PollOptions, poll, runInNetns, sh } from './process/shell.ts';
import type { Step } from './progress.ts';

interface NodePlan {
  options: GuestOptions;
  storage: boolean;
}

const NODES: Record<string, NodePlan> = {
  'storage-1': { options: { index: 1, memory: '1152M' }, storage: true },
  'storage-2': { options: { index: 2, memory: '1152M' }, storage: true },
  'worker-1': { options: { index: 3, memory: '1024M' }, storage: false },
};

/** Taint that says that a node is down for certain, and that nobody need wait for it. */
export const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

/** What is said of a connection that was not made in time, so that nothing was done: by kubectl, and by the API server of that to a kubelet. */
const NOT_CONNECTED = /TLS handshake timeout|error dialing backend/;
const CONNECT_ATTEMPTS = 3;

/** There when the cluster is. */
const UP = join(RUN, 'up');
/** Says which archive of our image the nodes have. */
const INSTALLED = join(RUN, 'image');
/** What all nodes' system disks have in common: a link, so that it stays when the cache is tidied. */
const COMMON_DISK = join(RUN, 'disk.img');
/** What one of them wrote. */
const systemDisk = (name: string) => join(SHM, `${name}.cow`);
const dataDisk = (name: string) => join(SHM, `${name}-data.img`);

/** Makes vg0 with a thin pool and room for linear volumes on /dev/ubdb, or activates it after a reboot. */
const VOLUME_GROUP = `
modprobe -a dm-thin-pool dm-snapshot
mkdir -p /etc/lvm
cat > /etc/lvm/lvm.conf <<'CONF'
devices { dir="/dev" scan=["/dev"] use_devicesfile=0 types=["ubd",256] global_filter=["a|^/dev/ubdb$|","r|.*|"] obtain_device_list_from_udev=0 external_device_info_source="none" multipath_component_detection=0 md_component_detection=0 }
activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 thin_pool_autoextend_threshold=100 }
global { use_lvmlockd=0 use_lvmpolld=0 event_activation=0 notify_dbus=0 }
log { syslog=0 }
backup { backup=0 archive=0 }
CONF
if vgs vg0 >/dev/null 2>&1; then vgchange -ay vg0
else pvcreate -q /dev/ubdb; vgcreate -q vg0 /dev/ubdb; lvcreate -q --type thin-pool -L 2G --poolmetadatasize 16M -n thin vg0; fi`;

/** A Kubernetes cluster of user-mode-Linux guests: a control plane on the host, storage-1, storage-2 and worker-1. */
export class Cluster {
  readonly kubeconfig = join(RUN, 'admin.kubeconfig');
  readonly #guests = new Map(Object.entries(NODES).map(([name, plan]) => [name, new Guest(name, plan.options)]));

  /** The running cluster. @throws Error when there is none */
  static async attach(): Promise<Cluster> {
    const cluster = new Cluster();
    if (!existsSync(UP)) throw new Error('no cluster is running: start one with "make demo-up"');
    return cluster;
  }

  /** Ends what an earlier run left, and boots a new cluster; a bare one lacks our image. `step` reports what is being done. */
  static async up(step: Step, options: { bare?: boolean } = {}): Promise<Cluster> {
    await Cluster.down();
    mkdirSync(RUN, { recursive: true });
    mkdirSync(SHM, { recursive: true });
    makeNetwork();
    const disk = await step('images for the nodes', filledDisk, { usually: '2 minutes the first time' });
    const archive = options.bare ? undefined : await step('our image', ourArchive);
    const cluster = new Cluster();
    linkSync(disk, COMMON_DISK);
    makeCertificates(Object.keys(NODES));
    const boot = () => {
      startEtcd();
      const apiServer = startApiServer();
      return Promise.all([
        apiServer.then(startControllers),
        apiServer.then(startSnapshotController),
        ...[...cluster.#guests.values()].map((guest) => cluster.#bootNode(guest, archive, apiServer)),
      ]);
    };
    const logs = `${RUN}/logs, ${RUN}/*/*.log`;
    await step('control plane and nodes storage-1, storage-2, worker-1', boot, { usually: '20 s', logs });
    await step('all nodes Ready', () => cluster.waitNodesReady(), { usually: '5 s', logs });
    writeFileSync(INSTALLED, archive ?? '');
    writeFileSync(UP, '');
    return cluster;
  }

  async waitNodesReady(): Promise<void> {
    const ready = async (name: string) => {
      await this.kubectl(['wait', `node/${name}`, '--for=create', '--timeout=90s']);
      await this.kubectl(['wait', `node/${name}`, '--for=condition=Ready', '--timeout=90s']);
    };
    await Promise.all([...this.#guests.keys()].map(ready)).catch(async (cause: unknown) => {
      throw new Error(`not all nodes are Ready; found:\n${await this.kubectl(['get', 'nodes'])}`, { cause });
    });
  }

  /** Ends the cluster and removes all that it made. Does nothing when there is none. */
  static async down(): Promise<void> {
    await killRecorded();
    removeNetwork();
    rmSync(SHM, { recursive: true, force: true });
    rmSync(RUN, { recursive: true, force: true });
  }

  /** Names of the nodes. */
  get nodes(): string[] {
    return [...this.#guests.keys()];
  }

  guest(name: string): Guest {
    const guest = this.#guests.get(name);
    if (!guest) throw new Error(`there is no node ${name}: the nodes are ${[...this.#guests.keys()].join(', ')}`);
    return guest;
  }

  /** Boots a node again after a crash, with the disks it had. */
  async reboot(name: string): Promise<void> {
    await this.#bootNode(this.guest(name), undefined, Promise.resolve());
  }

  /** Makes all nodes whole again, whatever a test that failed halfway left of them: one failure shall not be that of all after it. */
  async restore(): Promise<void> {
    for (const [name, guest] of this.#guests) {
      guest.setStorageLink('up');
      guest.setManagementLink('up');
      if (guest.isUp()) await guest.resume();
      else await this.reboot(name);
      await guest.exec('pkill -CONT -x kubelet || true');
    }
    await this.waitNodesReady();
    await this.kubectl(['uncordon', ...this.#guests.keys()]);
    await this.kubectl(['taint', 'node', '--all', `${OUT_OF_SERVICE}-`]).catch(() => ''); // none has it
  }

  async #bootNode(guest: Guest, archive: string | undefined, apiServer: Promise<void>): Promise<void> {
    const storage = NODES[guest.name]?.storage ?? false;
    if (storage) sh(`truncate -s 6G '${dataDisk(guest.name)}'`);
    guest.options.disks = [`${systemDisk(guest.name)},${COMMON_DISK}`, ...(storage ? [dataDisk(guest.name)] : [])];
    await guest.boot();
    if (storage) await guest.exec(VOLUME_GROUP);
    await startContainerd(guest, archive ? `ctr -n k8s.io images import '${archive}'` : '');
    await apiServer;
    await startKubelet(guest, storage ? { 'aoe.dev/storage': 'true' } : {});
  }

  /** Puts our image as it is built now on all nodes, and restarts what runs from it: targets, too. Does nothing when it is there. */
  async update(namespace: string): Promise<void> {
    const archive = await ourArchive();
    if (existsSync(INSTALLED) && readFileSync(INSTALLED, 'utf8') === archive) return;
    await Promise.all(
      [...this.#guests.values()].map((guest) => guest.exec(`ctr -n k8s.io images import '${archive}'`, { timeoutMs: 120_000 })),
    );
    await this.kubectl(['-n', namespace, 'delete', 'pod', '--all', '--grace-period=2']);
    await this.rolledOut(namespace);
    writeFileSync(INSTALLED, archive);
  }

  /** Waits until every pod of the chart is Ready, as it is wanted now, and the kubelets know the driver. */
  async rolledOut(namespace: string): Promise<void> {
    for (const workload of ['deployment/aoe-csi-controller', 'daemonset/aoe-csi-node', 'daemonset/aoe-csi-agent'])
      await this.kubectl(['-n', namespace, 'rollout', 'status', workload, '--timeout=120s']);
    // A DaemonSet that replaces its pods only when they are deleted has no such state.
    await this.kubectl([
      '-n',
      namespace,
      'wait',
      'pod',
      '-l',
      'app.kubernetes.io/component=target',
      '--for=condition=Ready',
      '--timeout=60s',
    ]);
    const drivers = ['get', 'csinodes', '-o', 'jsonpath={range .items[*]}{.spec.drivers[*].name}{"\\n"}{end}'];
    await this.poll(
      async () =>
        (await this.kubectl(drivers)).split('\n').filter((names) => names.includes('aoe.dev')).length === this.nodes.length
          ? true
          : undefined,
      {
        timeoutMs: 60_000,
        what: 'the driver to be registered on each node',
        explain: () => this.kubectl(['get', 'csinodes', '-o', 'yaml']),
      },
    );
  }

  /**
   * Runs kubectl as admin and gives its output.
   * A limit in its own words, such as `--timeout=60s`, becomes {@link PATIENCE} times as long. What did not even get a connection, because
   * the API server or a kubelet had no processor for some seconds, is tried again.
   */
  async kubectl(args: string[], options: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const limit = args.map((arg) => Number(/^--timeout=(\d+)s$/.exec(arg)?.[1])).find((seconds) => !Number.isNaN(seconds));
    const patient = args.map((arg) => (arg === `--timeout=${limit}s` ? `--timeout=${Number(limit) * PATIENCE}s` : arg));
    const timeoutMs = limit === undefined ? 120_000 : (limit + 30) * 1000;
    for (let attempt = 1; ; attempt++) {
      try {
        return await runInNetns(join(KIT, 'kubectl'), ['--kubeconfig', this.kubeconfig, ...patient], { timeoutMs, ...options });
      } catch (error) {
        if (attempt === CONNECT_ATTEMPTS || !(error instanceof CommandError) || !NOT_CONNECTED.test(error.stderr)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }

  helm(args: string[]): Promise<string> {
    return runInNetns(join(KIT, 'helm'), ['--kubeconfig', this.kubeconfig, ...args], { timeoutMs: 300_000 });
  }

  apply(objects: object[]): Promise<string> {
    return this.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }) });
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever the API server has, for tests to look into
  async getJson(kind: string, name: string): Promise<any> {
    return JSON.parse(await this.kubectl(['get', kind, name, '-o', 'json']));
  }

  /** Waits until an AoEVolume is as is wanted, and gives it. @throws Error that says what was waited for, with the volume */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  volumeUntil(name: string, what: string, isSo: (volume: any) => boolean, timeoutMs = 60_000): Promise<any> {
    const ask = async () => {
      const volume = await this.getJson('aoev', name);
      return isSo(volume) ? volume : undefined;
    };
    return poll(ask, { timeoutMs, what: `${what} of AoEVolume ${name}`, explain: () => this.kubectl(['get', 'aoev', name, '-o', 'yaml']) });
  }

  /** Waits until a condition of an AoEVolume has this status, this reason, or both, and gives it. */
  async condition(
    name: string,
    type: string,
    wanted: { status?: string; reason?: string },
    timeoutMs?: number,
  ): Promise<{ status: string; reason: string; message: string }> {
    const of = ({ status }: { status?: { conditions?: { type: string; status: string; reason: string; message: string }[] } }) =>
      status?.conditions?.find((each) => each.type === type);
    const isSo = (found = { status: '', reason: '' }): boolean =>
      (wanted.status ?? found.status) === found.status && (wanted.reason ?? found.reason) === found.reason;
    const volume = await this.volumeUntil(name, `condition ${type} (${Object.values(wanted).join()})`, (now) => isSo(of(now)), timeoutMs);
    return of(volume) ?? { status: '', reason: '', message: '' };
  }

  /** Waits until the status of an AoEVolume names this node as the holder of its lock, and gives the volume. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  heldBy(name: string, node: string): Promise<any> {
    return this.volumeUntil(name, `holder ${node}`, ({ status }) => status.holder?.node === node);
  }

  /**
   * The config string that is served at an address such as `e7.3`, as a host on the segment reads it. A frame can be lost, and aoecfg sends
   * one: it is asked until there is an answer.
   */
  configString(address: string): Promise<string> {
    const ask = async () => {
      const printed = await this.aoecfg(address);
      // Without an answer it prints nothing, and with an empty string the end of a line.
      return printed === '' ? undefined : printed.trim();
    };
    return poll(ask, { timeoutMs: 30_000, what: `an answer from ${address} to aoecfg` });
  }

  /** Runs aoecfg(8) on the segment, at an address such as `e7.3`, and gives what it prints. It waits 5 s for an answer. */
  aoecfg(address: string, ...options: string[]): Promise<string> {
    return runInNetns('aoecfg', ['-t', '5', ...options, ...address.slice(1).split('.'), 'storage'], { timeoutMs: 30_000 });
  }

  /** Asks until the answer is not undefined. @throws Error that says what was waited for */
  poll<T>(ask: () => Promise<T | undefined>, options: PollOptions): Promise<T> {
    return poll(ask, options);
  }
}
