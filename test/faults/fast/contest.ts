import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { acquire, type ConfigReply, escapeString, type IdentifyReply, lockTime, parseLock, release } from '../../../aoe/mod.ts';
import { AOE_NODES, AOE_VOLUMES, NODES as MACHINES } from '../../../api/resources.ts';
import { isNotFound } from '../../../kube/mod.ts';
import { csi, RpcClient } from '../../../rpc/mod.ts';
import { Contest } from '../model/contest.ts';
import type { Answered, Disk } from '../model/history.ts';
import { NODES, type NodeName } from '../model/plan.ts';
import { emitRecord, epochOf, RECORD } from '../model/record.ts';
import type { FakeHost } from './fake-host.ts';
import { persist } from './persist.ts';
import type { ProcessLab } from './process-lab.ts';
import { Writer } from './writer.ts';

const CALL_MS = 3_000;
/** As in the node plugin. */
const EXCHANGE = { timeoutMs: 4_000 } as const;
/** The log ends where this many blocks have no record. */
const HOLE = 256;

const { v1 } = csi;
const volumeCapability = { block: {}, accessMode: { mode: v1.VolumeCapability.AccessMode.Mode.SINGLE_NODE_WRITER } };

/** One Exclusive volume, and on each host that gets it a writer. Plays the attacher, the kubelet, and the node plugin's lock. */
export class LabContest extends Contest<Writer> {
  /** What became of the volume when a node was silent. */
  readonly silences = { taken: 0, kept: 0 };
  readonly #lab: ProcessLab;
  readonly #controller: RpcClient<csi.v1.Controller>;

  constructor(lab: ProcessLab) {
    super();
    this.#lab = lab;
    this.#controller = new RpcClient(v1.Controller, v1, lab.parts.csiSocket);
  }

  /**
   * Gives the volume to a node as soon as it can have it, and begins an epoch there.
   * @param limitMs until the controller has published it
   */
  async take(node: NodeName, limitMs?: number): Promise<void> {
    const host = this.#lab.host(node);
    await this.#clear(host);
    this.#lab.rights.begin(host.port.mac);
    await persist(
      `publish to ${node}`,
      () => this.#controller.call('controllerPublishVolume', { ...this.#ids(node), volumeCapability }, { timeoutMs: CALL_MS }),
      limitMs,
    );
    this.#lab.rights.only(host.port.mac);
    this.#strike(NODES.filter((name) => name !== node));
    const mac = await this.#stage(host);
    const { address, bytes } = this.#lab.volume;
    this.writers.push(new Writer(host, this.writers.length + 1, { address, mac }, bytes));
    await this.holder.progress();
  }

  /**
   * Ends what the node did in an earlier epoch, with all its frames. The target knows hosts by their MAC and cannot distinguish a
   * write of an earlier epoch from one of the next. Real networks do not keep frames for that long.
   */
  async #clear(host: FakeHost): Promise<void> {
    this.endWriters(host.name);
    host.port.drain();
    // An answer says that the target has taken what came before the question; a target that restarted has forgotten it.
    await persist(`the target to answer ${host.name}`, async () => {
      const replies = await host.initiator.query(this.#lab.volume.address, { ...EXCHANGE, settleMs: 1 });
      if (replies.length === 0) throw new Error('no answer');
    });
  }

  /** Somebody has just said that these nodes cannot write: they try at once, where the next record belongs. */
  #strike(nodes: readonly NodeName[]): void {
    const position = (this.writers.at(-1)?.answered.at(-1) ?? -1) + 1;
    for (const name of nodes) {
      const old = this.writers.findLast((writer) => writer.node === name);
      if (!old) continue;
      this.#lab.host(name).strike(old.disk, (position * RECORD) / 512, emitRecord(old.epoch, position));
    }
  }

  /** Survey, comparison of serials, and lock, as in NodeStageVolume. @returns the target's MAC */
  async #stage(host: FakeHost): Promise<string> {
    const { address, serial, uid } = this.#lab.volume;
    const owner = { node: host.name, nodeUID: host.uid, volumeUID: uid };
    let mac = '';
    await persist(`stage on ${host.name}`, async () => {
      const both = [host.initiator.query(address, EXCHANGE), host.initiator.identify(address, EXCHANGE)] as const;
      const [configs, identities]: [ConfigReply[], IdentifyReply[]] = await Promise.all(both);
      const [one, ...others] = identities;
      if (configs.length !== 1 || !one || others.length > 0) throw new Error(`${configs.length} and ${identities.length} targets answer`);
      if (one.identity?.serial !== serial) throw new Error(`serial ${one.identity?.serial} instead of ${serial}`);
      const { outcome, ...rest } = await acquire(host.initiator, address, owner, lockTime(), EXCHANGE);
      if (outcome !== 'held') throw new Error(`lock: ${outcome} ${JSON.stringify(rest)}`);
      mac = one.mac;
    });
    return mac;
  }

  /** @throws Error unless the target shows the holder's lock */
  async lockIsHolders(): Promise<void> {
    const { node, disk } = this.holder;
    const host = this.#lab.host(node);
    const said = await persist(`the target to tell ${node} the lock`, async () => {
      const [reply] = await host.initiator.query(disk.address, { ...EXCHANGE, settleMs: 1 });
      if (!reply) throw new Error('no answer');
      return reply.string;
    });
    const lock = parseLock(said);
    if (lock?.node === node && lock.nodeUID === host.uid) return;
    throw new Error(`${node} has the volume, and the lock says: ${escapeString(said)}`);
  }

  /** Ends the holder in good order: it releases the lock, then the right. */
  async release(): Promise<void> {
    const { node, disk } = this.holder;
    const host = this.#lab.host(node);
    this.endWriters(node);
    this.holder.neverRefused();
    const owner = { node, nodeUID: host.uid, volumeUID: this.#lab.volume.uid };
    // What is not answered is left to the agent, as in NodeUnstageVolume.
    await release(host.initiator, disk.address, owner, EXCHANGE);
    await this.giveUp();
  }

  /** Takes the right from the holder, in whatever state it is. Its writer does not notice. */
  async giveUp(): Promise<void> {
    await this.unpublish(this.holder.node);
  }

  /** As csi-attacher does when a VolumeAttachment is deleted. */
  async unpublish(node: NodeName): Promise<void> {
    await persist(`unpublish from ${node}`, () =>
      this.#controller.call('controllerUnpublishVolume', this.#ids(node), { timeoutMs: CALL_MS }),
    );
    this.#lab.rights.end(this.#lab.host(node).port.mac);
  }

  /** The operator has deleted the pod of a node by force, so the node cannot write: it tries at once. */
  mustBeRefused(node: NodeName): void {
    this.#lab.rights.end(this.#lab.host(node).port.mac);
    this.#strike([node]);
  }

  /** Deletes the holder's Node, and its AoENode as the garbage collector does: the operator must find out what that means. */
  async deleteNode(): Promise<void> {
    const { node } = this.holder;
    for (const type of [MACHINES, AOE_NODES]) {
      await persist(`delete ${type.kind} ${node}`, () =>
        this.#lab.kube.delete(type, node, { timeoutMs: CALL_MS }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        }),
      );
    }
  }

  /** The node is there again, with all that its kubelet and node plugin write. */
  takeBack(node: NodeName): Promise<void> {
    return persist(`add node ${node}`, () => this.#lab.addNode(node));
  }

  endWriters(node: NodeName): void {
    for (const writer of this.writers) if (writer.node === node && !writer.isEnded) writer.end();
  }

  #ids(nodeId: NodeName): { volumeId: string; nodeId: string } {
    return { volumeId: this.#lab.volume.name, nodeId };
  }

  /** All that was answered. */
  answered(): Answered[] {
    return this.writers.flatMap((writer) => writer.notes());
  }

  /** What is on the disk, past the target. */
  disk(): Disk {
    const epochs: (number | undefined)[] = [];
    const file = openSync(this.#lab.volume.file, 'r');
    const block = Buffer.alloc(RECORD);
    for (let position = 0, empty = 0; empty < HOLE && readSync(file, block, 0, RECORD, position * RECORD) === RECORD; position++) {
      const epoch = epochOf(block, position);
      empty = epoch === undefined ? empty + 1 : 0;
      epochs.push(epoch);
    }
    closeSync(file);
    while (epochs.length > 0 && epochs.at(-1) === undefined) epochs.pop();
    return epochs;
  }

  /** Keeps what a person needs to see what happened. */
  async keep(folder: string, disk: Disk, steps: readonly string[]): Promise<void> {
    this.keepNotes(folder, disk, steps, (writer) => writer.answered);
    writeFileSync(join(folder, 'rights'), this.#lab.rights.violations.join('\n'));
    for (const part of Object.values(this.#lab.parts.programs)) writeFileSync(join(folder, `${part.name}.log`), part.tail(2_000_000));
    const volume = await this.#lab.kube.get(AOE_VOLUMES, this.#lab.volume.name, { timeoutMs: CALL_MS }).catch(String);
    writeFileSync(join(folder, 'volume.json'), JSON.stringify(volume, null, 2));
  }

  /** Ends all writers. */
  close(): void {
    for (const node of NODES) this.endWriters(node);
    this.#controller.close();
  }
}
