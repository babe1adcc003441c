import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { aoeVolume, claim, pod, staticVolume } from '../../e2e/manifests.ts';
import { Namespace } from '../../e2e/namespace.ts';
import { type Cluster, OUT_OF_SERVICE } from '../../testbed/cluster.ts';
import { NAMESPACE } from '../../testbed/install.ts';
import { ROOT, RUN } from '../../testbed/paths.ts';
import { run, sh } from '../../testbed/process/shell.ts';
import { Contest, type EpochWriter } from '../model/contest.ts';
import type { Answered, Disk } from '../model/history.ts';
import { NODES, type NodeName, STORAGE } from '../model/plan.ts';
import { PROGRAMS } from './disturb.ts';

const SIZE = '1Gi';
/** Until a pod runs, even during a disturbance. */
const TAKE_MS = 240_000;
/** Until writes continue after a disturbance has ended. */
const PROGRESS_MS = 120_000;
/** Until a host that lost the volume gets an error. */
const REFUSED_MS = 60_000;

interface Writer extends EpochWriter {
  pod: string;
}

/** One Exclusive volume on storage-1, and on each node that gets it a program that writes to it until it is killed. */
export class ClusterContest extends Contest<Writer> {
  readonly #cluster: Cluster;
  readonly #namespace: Namespace;
  readonly #program: string;
  #device = '';

  private constructor(cluster: Cluster, namespace: Namespace) {
    super();
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#program = join(RUN, 'fault-writer');
  }

  static async create(cluster: Cluster): Promise<ClusterContest> {
    const contest = new ClusterContest(cluster, await Namespace.create(cluster, 'faults'));
    sh(`gcc -O2 -Wall -Werror -o '${contest.#program}' '${join(import.meta.dirname, 'writer.c')}'`);
    for (const node of NODES) await run('find', [cluster.guest(node).directory, '-name', 'fault-*', '-delete']);
    await contest.#moveController();
    await cluster.apply([
      aoeVolume('faults', { capacity: SIZE, pool: 'thin', nodeName: STORAGE }),
      staticVolume('faults', { volume: 'faults', size: SIZE, volumeMode: 'Block' }),
    ]);
    await cluster.kubectl(['wait', 'aoev', 'faults', '--for=condition=Ready', '--timeout=60s']);
    const options = { storageClass: '', volumeName: 'faults', size: SIZE, volumeMode: 'Block' } as const;
    await contest.#namespace.apply([claim('faults', options)]);
    contest.#device = `/dev/etherd/${(await cluster.getJson('aoev', 'faults')).status.address}`;
    return contest;
  }

  /** The controller to the node that is never given up: its own move is not what is tested. */
  async #moveController(): Promise<void> {
    const others = (await this.#cluster.kubectl(['get', 'nodes', '-o', 'name']))
      .trim()
      .split('\n')
      .filter((name) => name !== `node/${STORAGE}`);
    const component = ['-n', NAMESPACE, '-l', 'app.kubernetes.io/component=controller'];
    await this.#cluster.kubectl(['cordon', ...others]);
    try {
      await this.#cluster.kubectl(['delete', 'pod', ...component, '--grace-period=1']);
      await this.#cluster.kubectl(['-n', NAMESPACE, 'rollout', 'status', 'deployment/aoe-csi-controller', '--timeout=110s']);
    } finally {
      await this.#cluster.kubectl(['uncordon', ...others]);
    }
  }

  /** Gives the volume to a node that nothing keeps from it any more, and begins an epoch there. */
  async take(node: NodeName): Promise<void> {
    // What ran there in an earlier epoch is over: the node has the volume by right now.
    await this.endWriters(node);
    const writer: Writer = { epoch: this.writers.length + 1, node, pod: `epoch-${this.writers.length + 1}` };
    const manifest = pod(writer.pod, { claim: 'faults', node, block: true, script: 'touch /tmp/ready; sleep 86400' });
    await this.#persist(async () => {
      await this.#removeRejected(writer.pod);
      await this.#namespace.apply([manifest]);
      await this.#namespace.kubectl('wait', 'pod', writer.pod, '--for=condition=Ready', '--timeout=10s');
    });
    this.writers.push(writer);
    const { epoch } = writer;
    await this.#cluster
      .guest(node)
      .start(
        `echo $$ > /host/fault-pid-${epoch}; exec ${this.#program} ${this.#device} ${epoch} /host/fault-notes-${epoch} 2>/host/fault-errors-${epoch}`,
      );
    await this.progress();
  }

  /** A kubelet that has not seen yet that its node lost a taint rejects a pod for good. A controller would make another one. */
  async #removeRejected(name: string): Promise<void> {
    const phase = await this.#namespace.kubectl('get', 'pod', name, '--ignore-not-found', '-o', 'jsonpath={.status.phase}');
    if (phase.trim() === 'Failed') await this.#namespace.kubectl('delete', 'pod', name, '--timeout=10s');
  }

  /** The API server may be away, or the node: tried again until the limit. */
  async #persist(work: () => Promise<unknown>): Promise<void> {
    const what = () => this.#namespace.kubectl('describe', 'pods');
    const done = async (): Promise<true> => {
      await work();
      return true;
    };
    await this.#cluster.poll(done, { timeoutMs: TAKE_MS, intervalMs: 500, what: 'a pod to get the volume', explain: what });
  }

  /** Ends the holder in good order. */
  async release(): Promise<void> {
    const { node, pod: name } = this.holder;
    await this.endWriters(node);
    this.#notRefused(this.holder);
    await this.#persist(() => this.#namespace.kubectl('delete', 'pod', name, '--ignore-not-found', '--timeout=20s'));
  }

  /** Marks the holder's node as out of service and deletes its pod by force. Its writer does not notice. */
  async giveUp(): Promise<void> {
    const { node, pod: name } = this.holder;
    await this.#persist(() => this.#cluster.kubectl(['taint', 'node', node, `${OUT_OF_SERVICE}=nodeshutdown:NoExecute`, '--overwrite']));
    await this.#persist(() => this.#namespace.kubectl('delete', 'pod', name, '--force', '--grace-period=0', '--ignore-not-found'));
  }

  /** The same, and its Node object goes. Of a deleted node without the taint Kubernetes itself waits six minutes for the unmount. */
  async deleteNode(): Promise<void> {
    const { node } = this.holder;
    await this.giveUp();
    await this.#persist(() => this.#cluster.kubectl(['delete', 'node', node, '--ignore-not-found', '--timeout=20s']));
  }

  /** The node is there again, and may be used. */
  async takeBack(node: NodeName): Promise<void> {
    await this.#cluster.waitNodesReady();
    await this.#persist(() =>
      this.#cluster.kubectl(['taint', 'node', node, `${OUT_OF_SERVICE}-`]).catch((error: Error) => {
        if (!/not found/.test(error.message)) throw error;
      }),
    );
  }

  /** Waits until the holder's writes are answered, and were never refused. */
  async progress(records = 12): Promise<void> {
    const { epoch, node } = this.holder;
    const count = () => this.#notes(this.holder).filter((line) => line.startsWith('A')).length;
    const before = count();
    await this.#cluster.poll(async () => (count() >= before + records ? true : undefined), {
      timeoutMs: PROGRESS_MS,
      what: `${node} to write ${records} more records in epoch ${epoch}`,
      explain: async () =>
        `${this.#notes(this.holder).slice(-3).join('\n')}\n${await this.#cluster.kubectl(['get', 'aoev', 'faults', '-o', 'yaml'])}`,
    });
    this.#notRefused(this.holder);
  }

  #notRefused(writer: Writer): void {
    const failed = this.#notes(writer).find((line) => line.startsWith('E'));
    if (failed) throw new Error(`${writer.node} had an I/O error in epoch ${writer.epoch}, which it holds: ${failed} (record, errno)`);
  }

  /** Waits until a writer that lost the volume is refused. */
  async refused(epoch: number): Promise<void> {
    const writer = this.writer(epoch);
    await this.#cluster.poll(async () => this.#notes(writer).find((line) => line.startsWith('E')), {
      timeoutMs: REFUSED_MS,
      what: `the writer of epoch ${epoch} on ${writer.node}, which lost the volume, to get an error`,
      explain: () => this.#notes(writer).slice(-3).join('\n'),
    });
  }

  /** Stops a part's process on a node; it neither ends nor works until the returned function is called. */
  async stop(node: NodeName, part: keyof typeof PROGRAMS): Promise<() => Promise<unknown>> {
    const guest = this.#cluster.guest(node);
    await guest.exec(`pkill -STOP -f '${PROGRAMS[part]}'`);
    return async () => guest.exec(`pkill -CONT -f '${PROGRAMS[part]}' || true`);
  }

  /** Switches the enforcement off: the target lets every host write. The agent must have been stopped. */
  async admitEveryone(): Promise<void> {
    const { uid } = (await this.#cluster.getJson('aoev', 'faults')).metadata;
    const script = join(import.meta.dirname, 'admit-everyone.ts');
    await this.#cluster.guest(STORAGE).exec(`${join(ROOT, 'node_modules/.bin/node')} ${script} /run/aoe-csi/target.sock ${uid}`);
  }

  /**
   * Waits until a writer has writes answered after one that was refused. Several: the first may be on the disk since it had
   * the right, with a lost answer; no other host has written there then.
   */
  async writesAgain(epoch: number): Promise<void> {
    const writer = this.writer(epoch);
    const again = async () => /E.*A.*A.*A/s.test(this.#notes(writer).join('\n')) || undefined;
    await this.#cluster.poll(again, { timeoutMs: REFUSED_MS, what: `the writer of epoch ${epoch} to write again` });
  }

  async endWriters(node: NodeName): Promise<void> {
    const pids = this.writers.filter((writer) => writer.node === node).map(({ epoch }) => `/host/fault-pid-${epoch}`);
    if (pids.length === 0) return;
    // The name is checked, too: after a reboot another process may have the pid.
    await this.#cluster
      .guest(node)
      .exec(`for pid in $(cat ${pids.join(' ')}); do grep -qs fault-writer /proc/$pid/cmdline && kill -KILL $pid || true; done`);
  }

  #notes({ node, epoch }: Writer): string[] {
    try {
      return readFileSync(join(this.#cluster.guest(node).directory, `fault-notes-${epoch}`), 'utf8')
        .trim()
        .split('\n');
    } catch {
      return [];
    }
  }

  /** All that was answered. */
  answered(): Answered[] {
    return this.writers.flatMap((writer) =>
      this.#notes(writer)
        .filter((line) => line.startsWith('A'))
        .map((line) => ({ epoch: writer.epoch, position: Number(line.split(' ')[1]) })),
    );
  }

  /** What the disk has, as the holder reads it. */
  async disk(): Promise<Disk> {
    const guest = this.#cluster.guest(this.holder.node);
    // Not over the guest's serial line, which is for a few words.
    await guest.exec(`${this.#program} ${this.#device} > /host/fault-disk`, { timeoutMs: 600_000 });
    const epochs = readFileSync(join(guest.directory, 'fault-disk'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (line === '-' ? undefined : Number(line)));
    while (epochs.length > 0 && epochs.at(-1) === undefined) epochs.pop();
    return epochs;
  }

  /** Keeps what a person needs to see what happened. */
  keep(folder: string, disk: Disk, steps: readonly string[]): void {
    this.keepNotes(folder, disk, steps, (writer) => this.#notes(writer));
  }

  async delete(): Promise<void> {
    await this.#cluster.restore();
    for (const node of new Set(this.writers.map((writer) => writer.node))) await this.endWriters(node).catch(() => {});
    await this.#namespace.delete();
    await this.#cluster.kubectl(['delete', 'pv', 'faults', '--ignore-not-found', '--timeout=60s']);
    await this.#cluster.kubectl(['delete', 'aoev', 'faults', '--ignore-not-found', '--timeout=60s']);
    await run('rm', ['-f', this.#program]);
  }
}
