import { AOE_SNAPSHOTS } from '../../../api/resources.ts';
import { type AoESnapshot, type AoESnapshotStatus, isAnswered } from '../../../api/snapshot.ts';
import {
  applyStatus,
  type Change,
  Controller,
  fieldChanged,
  Informer,
  type Kube,
  messageOf,
  OwnWrites,
  type Store,
} from '../../../kube/mod.ts';
import { FIELD_MANAGER } from '../cluster/volume-client.ts';
import type { Deps } from '../deps.ts';
import { FreezeError } from './freezer.ts';
import type { FreezeSessions } from './sessions.ts';

/** Limit for one answer, in milliseconds: a freeze ends at the limit of the plugin, which is 60 s at most. */
const ANSWER_MS = 90_000;
const AT_ONCE = 8;

type Answer = NonNullable<AoESnapshotStatus['frozen']>;
type Verdict = Pick<Answer, 'state'> & { throughout?: boolean; message?: string };

type Parts = Pick<Deps, 'nodeName' | 'localDisk' | 'volumes' | 'staged' | 'jobs' | 'log'> & {
  readonly freezes: Pick<FreezeSessions, 'freeze' | 'thaw' | 'abandon'>;
};

/** Answers the agents that ask this node to freeze, or to thaw, the file system of a volume: in status.frozen of the AoESnapshot. */
export class FreezeRequests {
  readonly #parts: Parts;
  readonly #kube: Pick<Kube, 'apply' | 'get'>;
  readonly #snapshots: OwnWrites<AoESnapshot>;
  /** The freeze that was begun last for a snapshot, by the name of the snapshot. */
  readonly #begun = new Map<string, string>();

  /** @param snapshots those that ask this node for something */
  constructor(parts: Parts, kube: Pick<Kube, 'apply' | 'get'>, snapshots: Store<AoESnapshot>) {
    this.#parts = parts;
    this.#kube = kube;
    this.#snapshots = new OwnWrites(snapshots);
  }

  /** Answers what one snapshot asks: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<void> {
    const { freezes, nodeName } = this.#parts;
    const snapshot = this.#snapshots.get(name);
    const asked = snapshot?.status?.freeze;
    const before = this.#begun.get(name);
    const isAsked = asked?.nodeName === nodeName && !snapshot?.metadata.deletionTimestamp;
    // By its id: another snapshot of the volume may have the freeze by now.
    if (before !== undefined && !(isAsked && asked.id === before)) freezes.abandon(before);
    if (!snapshot || !asked || !isAsked) {
      this.#begun.delete(name);
      return;
    }
    if (asked.stage === 'Done' || isAnswered(asked, snapshot.status?.frozen)) return;
    this.#begun.set(name, asked.id);
    const verdict = asked.stage === 'Freezing' ? await this.#freeze(snapshot, asked.id, signal) : await this.#thaw(snapshot, asked.id);
    const frozen: Answer = { id: asked.id, nodeName, ...verdict };
    const still = (now: AoESnapshot): boolean => now.status?.freeze?.id === asked.id && now.status.freeze.nodeName === nodeName;
    const written = await applyStatus(this.#kube, AOE_SNAPSHOTS, snapshot, { manager: FIELD_MANAGER, fields: { frozen }, still, signal });
    if (written) this.#snapshots.confirm(written);
    else freezes.abandon(asked.id);
  }

  async #freeze(snapshot: AoESnapshot, id: string, signal: AbortSignal): Promise<Verdict> {
    const { freezes, jobs, log } = this.#parts;
    const { volumeName } = snapshot.spec;
    try {
      const refusal = await this.#refusalOf(snapshot, signal);
      if (refusal !== undefined) return { state: 'Failed', message: refusal };
      // No stage, unstage or clean-up of the volume is under way meanwhile.
      return await jobs.run(volumeName, 'freeze for a snapshot', async () => {
        const mounted = await this.#mounted(volumeName);
        if ('refusal' in mounted) return { state: 'Unsupported', message: mounted.refusal };
        await freezes.freeze(volumeName, id, mounted.device);
        return { state: mounted.device === undefined ? 'NotMounted' : 'Frozen' };
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FreezeError)) log.warn({ volume: volumeName, error: messageOf(error) }, 'file system not frozen');
      return { state: 'Failed', message: messageOf(error).slice(0, 1000) };
    }
  }

  async #thaw({ spec: { volumeName } }: AoESnapshot, id: string): Promise<Verdict> {
    const { freezes } = this.#parts;
    const why = await freezes.thaw(id);
    if (why !== undefined) return { state: 'Thawed', throughout: false, message: `volume ${volumeName}: ${why}` };
    return { state: 'Thawed', throughout: true };
  }

  /** Why this node does not act on the request: a storage node may ask for its own volumes only. */
  async #refusalOf({ spec, status }: AoESnapshot, signal: AbortSignal): Promise<string | undefined> {
    const volume = await this.#parts.volumes.get(spec.volumeName, signal);
    if (volume?.metadata.uid !== status?.volumeUID) return `AoEVolume ${spec.volumeName} was deleted, or created again`;
    if (volume?.spec.nodeName === status?.nodeName) return undefined;
    return `AoEVolume ${spec.volumeName} is not on node ${status?.nodeName}, which asks for the freeze`;
  }

  /** The device of the file system of a volume; undefined when it is not mounted here. */
  async #mounted(volumeId: string): Promise<{ device: string | undefined } | { refusal: string }> {
    const { staged, localDisk, nodeName } = this.#parts;
    const record = await staged.get(volumeId);
    if (!record) return { device: undefined };
    const mounts = await localDisk(record.address).liveMounts();
    const filesystem = mounts.find(({ kind }) => kind === 'filesystem');
    if (filesystem) return { device: filesystem.device };
    if (!mounts.some(({ kind }) => kind === 'node')) return { device: undefined };
    return {
      refusal: `volume ${volumeId} is used on node ${nodeName} as a raw block device: only its user can bring the data into a consistent state`,
    };
  }
}

/** Answers requests until the signal is aborted. */
export async function answerFreezeRequests(parts: Parts, kube: Kube, signal: AbortSignal): Promise<void> {
  const { nodeName, log } = parts;
  const snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS, { fieldSelector: `status.freeze.nodeName=${nodeName}` });
  const requests = new FreezeRequests(parts, kube, snapshots);
  const controller = new Controller({
    name: 'freezes',
    log,
    reconcile: (name, stop) => requests.reconcile(name, stop),
    concurrency: AT_ONCE,
    timeoutMs: ANSWER_MS,
  }).watch(snapshots, {
    when: fieldChanged<AoESnapshot>(({ metadata, status }) => [metadata.deletionTimestamp, status?.freeze]),
    keys: ({ object }: Change<AoESnapshot>) => [object.metadata.name],
  });
  await Promise.all([snapshots.run(signal), controller.run(signal)]);
}
