import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { type EventRecorder, type Kube, messageOf, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { MacMemory } from '../access/mac-memory.ts';
import type { AskSegment, Stranger } from '../address/probe.ts';
import type { AddressWatch } from '../address/schedule.ts';
import type { Backend } from '../backends/backend.ts';
import { breakLock } from '../lock/break.ts';
import { LockStory } from '../lock/events.ts';
import { TargetError } from '../target/api.ts';
import type { TargetLink } from '../target/connection.ts';
import { type NotProvisioned, noteProvisioned, type Provisioned, provision, wasProvisioned } from './data.ts';
import { notePaths, serve } from './export.ts';
import { Jobs } from './jobs.ts';
import { type Removal, type RemovalContext, removeVolume } from './removal.ts';
import { VolumeStatus } from './status.ts';

const NO_ADDRESS_RETRY_MS = 30_000;
const TARGET_RETRY_MS = 5_000;
const AT_ONCE_MS = 1;
/**
 * How long a pass waits for a volume's data. Of one that is served it is mostly known at once, and whom it serves must not wait
 * for a pool that is stuck; a new one can do nothing else, but others may wait for the worker.
 */
const DATA_PATIENCE_MS = { served: 100, unserved: 1_000 } as const;
/** Zeroing a large volume takes its time; every step in it has a limit of its own. */
const DATA_LIMIT_MS = 60 * 60_000;

export interface VolumesOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'patch' | 'get'>;
  volumes: Store<AoEVolume>;
  pools: Store<AoEPool>;
  nodes: Store<AoENode>;
  backendOf: (pool: AoEPool) => Backend;
  /** Told when a volume was made in a pool or removed from it. */
  poolChanged: (pool: string) => void;
  target: TargetLink;
  ask: AskSegment;
  addressWatch: AddressWatch;
  memory: MacMemory;
  /** Told the name of a volume that is to be looked at again: its data is there now, or it is known why not. */
  lookAgain: (name: string) => void;
  /** The life of this program: ends what goes on beside `reconcile`. */
  signal: AbortSignal;
  events: Pick<EventRecorder, 'event'>;
  log: Logger;
}

/** Makes what an AoEVolume of this node asks for true, from data to access list, and says how far it came. */
export class Volumes {
  readonly #options: VolumesOptions;
  readonly #context: RemovalContext;
  readonly #story: LockStory;
  /** Making or finding the data of volumes, by UID. */
  readonly #data: Jobs<Provisioned | NotProvisioned>;
  /** Volumes as our own writes left them, until the informer has caught up. */
  readonly #written = new Map<string, AoEVolume>();
  /** When the target was last told to open a volume in trouble again, by UID. */
  readonly #reopened = new Map<string, number>();

  constructor(options: VolumesOptions) {
    this.#options = options;
    const { kube, node, nodes, target, memory, events, log, signal } = options;
    this.#data = new Jobs({ signal, limitMs: DATA_LIMIT_MS });
    this.#story = new LockStory(events, log);
    this.#context = {
      kube,
      node,
      target,
      nodes: () => nodes.list(),
      memory,
      fresh: async ({ metadata: { name, uid } }, signal) => {
        const volume = await kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
        return volume?.metadata.uid === uid ? volume : undefined;
      },
      mayReopen: (uid) => {
        const now = performance.now();
        if (now - (this.#reopened.get(uid) ?? Number.NEGATIVE_INFINITY) < TARGET_RETRY_MS) return false;
        this.#reopened.set(uid, now);
        return true;
      },
      dataIsBusy: (uid) => this.#data.isBusy(uid),
      story: this.#story,
    };
  }

  /** Until nothing goes on beside `reconcile`. */
  idle(): Promise<void> {
    return this.#data.idle();
  }

  /** Reconciles one volume: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<{ requeueAfterMs?: number } | undefined> {
    const found = this.#newest(name);
    // Without finalizer it is not placed yet, or its clean-up is done: nothing of it may be made.
    if (!found || found.spec.nodeName !== this.#options.node || !found.metadata.finalizers?.includes(VOLUME_FINALIZER)) return undefined;
    const volume = await breakLock({ kube: this.#options.kube, target: this.#options.target, story: this.#story }, found, signal);
    const pool = this.#options.pools.get(volume.spec.pool ?? '');
    const backend = pool && this.#options.backendOf(pool);
    const status = new VolumeStatus(volume);
    let retryMs: number | undefined;
    let failure: unknown;
    if (volume.metadata.deletionTimestamp) {
      const removal = await this.#remove(volume, backend, status, signal);
      if (removal.outcome === 'done') {
        this.#written.delete(name);
        this.#reopened.delete(volume.metadata.uid ?? '');
        this.#data.forget(volume.metadata.uid ?? '');
        this.#options.addressWatch.forget(volume.metadata.uid ?? '');
        this.#options.memory.forget(volume.metadata.uid ?? '');
        this.#options.log.info({ volume: name, uid: volume.metadata.uid, pool: volume.spec.pool }, 'volume removed');
        this.#options.poolChanged(volume.spec.pool ?? '');
        return undefined;
      }
      retryMs = removal.retryMs;
    } else {
      try {
        retryMs = await this.#provide(volume, backend, status, signal);
      } catch (error) {
        // What is known is written all the same, then it is tried again.
        signal.throwIfAborted();
        failure = error;
      }
    }
    this.#tell(volume, status);
    this.#story.changed(volume, found.status?.holder, status.now.holder);
    const written = await status.write(this.#options.kube, signal);
    if (written) this.#written.set(name, written);
    if (failure !== undefined) throw failure;
    return retryMs === undefined ? undefined : { requeueAfterMs: retryMs };
  }

  async #remove(volume: AoEVolume, backend: Backend | undefined, status: VolumeStatus, signal: AbortSignal): Promise<Removal> {
    try {
      return await removeVolume(this.#context, volume, backend, status, signal);
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#noteTargetError(error, status);
      return { outcome: 'waiting', retryMs: TARGET_RETRY_MS };
    }
  }

  /** @returns when to look again, in milliseconds; undefined when something will tell */
  async #provide(volume: AoEVolume, backend: Backend | undefined, status: VolumeStatus, signal: AbortSignal): Promise<number | undefined> {
    const { target, ask, addressWatch, poolChanged, lookAgain } = this.#options;
    const { address } = volume.spec;
    const { uid = '', name } = volume.metadata;
    const served = target.state(uid);
    const placed = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Placed);
    if (placed?.status === 'False' && placed.reason === 'AddressTaken' && !served && !wasProvisioned(volume)) {
      // Its place may have been copied from another volume: it is the operator's to say when it has one.
      status.condition(VolumeCondition.Exported, 'False', placed.reason, placed.message);
      return undefined;
    }
    const mustAsk = target.connected && address !== undefined && (!served || addressWatch.isDue(uid));
    // Side by side: making the data and listening for a stranger take about as long as each other.
    const [job, answer] = await Promise.all([
      this.#data.run(uid, (stop) => provision(volume, backend, { served: served !== undefined }, stop), {
        patienceMs: served ? DATA_PATIENCE_MS.served : DATA_PATIENCE_MS.unserved,
        ended: () => lookAgain(name),
      }),
      mustAsk ? this.#ask(ask(address, signal)) : undefined,
    ]);
    // Not known yet: the status says what it said, and whom the target serves is brought up to date.
    const data = job && 'result' in job ? job.result : undefined;
    if (data) noteProvisioned(data, status);
    if (answer) addressWatch.note(uid, 'stranger' in answer && answer.stranger !== undefined);
    if (data && 'made' in data && data.made) poolChanged(volume.spec.pool ?? '');
    const retryMs = await this.#export(volume, data, answer, status, signal);
    if (job && 'error' in job) throw job.error;
    return retryMs;
  }

  /**
   * @param data undefined while it is not known
   * @returns when to look again, in milliseconds; undefined when something will tell
   */
  async #export(
    volume: AoEVolume,
    data: Provisioned | NotProvisioned | undefined,
    answer: Answer | undefined,
    status: VolumeStatus,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { target, addressWatch } = this.#options;
    const { uid = '' } = volume.metadata;
    const dataRetryMs = data && 'retryMs' in data ? data.retryMs : undefined;
    if (!target.connected) {
      status.condition(VolumeCondition.Exported, 'Unknown', 'TargetUnavailable', `the target process does not answer (${target.problem})`);
      return dataRetryMs;
    }
    try {
      if (answer && !('error' in answer)) await this.#judge(volume, answer.stranger, status, signal);
      const refusal = target.state(uid) ? undefined : this.#refusal(volume, data, answer, status);
      if (refusal) {
        delete status.now.paths;
        return refusal.retryMs;
      }
      notePaths(target, status);
      // Data that went away is left alone on the target, too: it may be a mistake that is being mended.
      const state = await serve(this.#context, volume, data && 'path' in data ? data.path : undefined, status, signal);
      return Math.min((state?.error ? TARGET_RETRY_MS : dataRetryMs) ?? Number.POSITIVE_INFINITY, addressWatch.waitMs(uid));
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#noteTargetError(error, status);
      return TARGET_RETRY_MS;
    }
  }

  /**
   * Says whether somebody else answers at the address. A volume that is served to nobody goes off the segment then, before
   * a host takes both targets for paths to one disk; one in use is left to its user, whose writes must not stall.
   * @throws TargetError
   */
  async #judge(volume: AoEVolume, stranger: Stranger | undefined, status: VolumeStatus, signal: AbortSignal): Promise<void> {
    if (!stranger) {
      status.condition(VolumeCondition.AddressConflict, 'False', 'NoAnswer', 'nobody else answers at the address');
      return;
    }
    const { target } = this.#options;
    const { uid = '' } = volume.metadata;
    const { shelf, slot } = volume.spec.address ?? { shelf: 0, slot: 0 };
    const state = target.state(uid);
    const inUse = state !== undefined && (state.volume.macs.length > 0 || state.configString.length > 0);
    const found = `${stranger.mac} on ${stranger.interface} answers at e${shelf}.${slot}, too`;
    const message = inUse
      ? `${found}: the volume is in use and still served, but a host may send its writes to either of them: take the other target off the segment at once`
      : `${found}: take one of the two off the segment; it is asked again every half minute`;
    status.condition(VolumeCondition.AddressConflict, 'True', 'AnsweredByOther', message);
    if (state && !inUse) await target.unexport(uid, signal);
  }

  /** Notes why a volume that is not served is not to be exported now, and when to look again, in milliseconds; undefined when it is. */
  #refusal(
    volume: AoEVolume,
    data: Provisioned | NotProvisioned | undefined,
    answer: Answer | undefined,
    status: VolumeStatus,
  ): { retryMs?: number } | undefined {
    const no = (reason: string, message: string, retryMs?: number): { retryMs?: number } => {
      status.condition(VolumeCondition.Exported, 'False', reason, message);
      return retryMs === undefined ? {} : { retryMs };
    };
    if (!data) return no('NotProvisioned', 'its data is being looked for or made');
    if (!('path' in data)) return no('NotProvisioned', 'there is no data to serve: see condition Provisioned', data.retryMs);
    if (!volume.spec.address) return no('NoAddress', 'the operator has not given it an address yet', NO_ADDRESS_RETRY_MS);
    if (!answer)
      return no('SegmentNotAsked', 'the target served it a moment ago: the segment is asked before it is served again', AT_ONCE_MS);
    if ('error' in answer) return no('SegmentNotAsked', answer.error, TARGET_RETRY_MS);
    if (answer.stranger) {
      const message = status.get(VolumeCondition.AddressConflict)?.message ?? '';
      return no('AddressConflict', message, this.#options.addressWatch.waitMs(volume.metadata.uid ?? ''));
    }
    return undefined;
  }

  async #ask(question: Promise<Stranger | undefined>): Promise<Answer> {
    try {
      return { stranger: await question };
    } catch (error) {
      return { error: messageOf(error) };
    }
  }

  #noteTargetError(error: TargetError, status: VolumeStatus): void {
    const [state, reason] = REASONS[error.reason];
    status.condition(VolumeCondition.Exported, state, reason, error.message);
  }

  /** Events for turns for the worse that a condition alone would not show afterwards. */
  #tell(volume: AoEVolume, status: VolumeStatus): void {
    for (const [type, bad] of [
      [VolumeCondition.Provisioned, 'False'],
      [VolumeCondition.AddressConflict, 'True'],
    ] as const) {
      const condition = status.get(type);
      const before = volume.status?.conditions?.find((each) => each.type === type);
      if (condition?.status !== bad || (before?.status === bad && before.reason === condition.reason)) continue;
      this.#options.log.warn({ volume: volume.metadata.name, reason: condition.reason, detail: condition.message }, 'volume has a problem');
      if (type !== VolumeCondition.Provisioned || wasProvisioned(volume)) {
        this.#options.events.event(volume, 'Warning', condition.reason, condition.message);
      }
    }
  }

  /** The newer of what the informer and our own last write say. */
  #newest(name: string): AoEVolume | undefined {
    const seen = this.#options.volumes.get(name);
    const written = this.#written.get(name);
    if (!written || !seen || written.metadata.uid !== seen.metadata.uid || versionOf(seen) >= versionOf(written)) {
      this.#written.delete(name);
      return seen;
    }
    return written;
  }
}

type Answer = { stranger: Stranger | undefined } | { error: string };

const REASONS: Record<TargetError['reason'], readonly ['False' | 'Unknown', string]> = {
  unavailable: ['Unknown', 'TargetUnavailable'],
  'not-found': ['False', 'PathMissing'],
  conflict: ['False', 'AddressInUse'],
  invalid: ['False', 'TargetRefused'],
  precondition: ['False', 'TargetRefused'],
  failed: ['False', 'TargetFailed'],
};

/** Resource versions of one type grow (KEP-5504). */
function versionOf({ metadata }: AoEVolume): bigint {
  return /^\d+$/.test(metadata.resourceVersion ?? '') ? BigInt(metadata.resourceVersion ?? 0) : 0n;
}
