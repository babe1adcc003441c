import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_VOLUMES } from '../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER, VolumeCondition } from '../api/volume.ts';
import type { EventRecorder, Kube } from '../kube/mod.ts';
import type { Logger } from '../run/log.ts';
import type { AddressWatch } from './address-watch.ts';
import type { Backend } from './backends/backend.ts';
import { breakLock } from './break-lock.ts';
import { LockStory } from './lock-story.ts';
import { type NotProvisioned, type Provisioned, provision, wasProvisioned } from './provision.ts';
import { type Removal, type RemovalContext, removeVolume } from './removal.ts';
import type { AskSegment, Stranger } from './segment.ts';
import { notePaths, serve } from './serve.ts';
import type { TargetLink } from './target.ts';
import { TargetError } from './target-api.ts';
import { VolumeStatus } from './volume-status.ts';

const NO_ADDRESS_RETRY_MS = 30_000;
const TARGET_RETRY_MS = 5_000;
const AT_ONCE_MS = 1;

/** What is known of the cluster: informers in life. */
export interface Store<T> {
  get(name: string): T | undefined;
  list(): T[];
}

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
  events: Pick<EventRecorder, 'event'>;
  log: Logger;
}

/** Makes what an AoEVolume of this node asks for true, from data to access list, and says how far it came. */
export class Volumes {
  readonly #options: VolumesOptions;
  readonly #context: RemovalContext;
  readonly #story: LockStory;
  /** Volumes as our own writes left them, until the informer has caught up. */
  readonly #written = new Map<string, AoEVolume>();
  /** When the target was last told to open a volume in trouble again, by UID. */
  readonly #reopened = new Map<string, number>();

  constructor(options: VolumesOptions) {
    this.#options = options;
    const { kube, node, nodes, target, events, log } = options;
    this.#story = new LockStory(events, log);
    this.#context = {
      kube,
      node,
      target,
      nodes: () => nodes.list(),
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
      story: this.#story,
    };
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
        this.#options.addressWatch.forget(volume.metadata.uid ?? '');
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
    const { target, ask, addressWatch, poolChanged } = this.#options;
    const { address } = volume.spec;
    const { uid = '' } = volume.metadata;
    const served = target.state(uid);
    const mustAsk = target.connected && address !== undefined && (!served || addressWatch.isDue(uid));
    // Side by side: making the data and listening for a stranger take about as long as each other.
    const [data, answer] = await Promise.all([
      provision(volume, backend, { status, served: served !== undefined }, signal),
      mustAsk ? this.#ask(ask(address, signal)) : undefined,
    ]);
    if (answer) addressWatch.note(uid, 'stranger' in answer && answer.stranger !== undefined);
    const again = (retryMs: number | undefined): number => Math.min(retryMs ?? Number.POSITIVE_INFINITY, addressWatch.waitMs(uid));
    const dataRetryMs = 'retryMs' in data ? data.retryMs : undefined;
    if ('made' in data && data.made) poolChanged(volume.spec.pool ?? '');
    if (!target.connected) {
      status.condition(VolumeCondition.Exported, 'Unknown', 'TargetUnavailable', `the target process does not answer (${target.problem})`);
      return dataRetryMs;
    }
    try {
      if (answer && !('error' in answer)) await this.#judge(volume, answer.stranger, status, signal);
      const refusal = target.state(uid) ? undefined : this.#refusal(volume, data, answer, status);
      if (refusal !== undefined) {
        delete status.now.paths;
        return refusal;
      }
      notePaths(target, status);
      // Data that went away is left alone on the target, too: it may be a mistake that is being mended.
      const state = await serve(this.#context, volume, 'path' in data ? data.path : undefined, status, signal);
      return again(state?.error ? TARGET_RETRY_MS : dataRetryMs);
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
  #refusal(volume: AoEVolume, data: Provisioned | NotProvisioned, answer: Answer | undefined, status: VolumeStatus): number | undefined {
    const no = (reason: string, message: string): void => status.condition(VolumeCondition.Exported, 'False', reason, message);
    if (!('path' in data)) {
      no('NotProvisioned', 'there is no data to serve: see condition Provisioned');
      return data.retryMs;
    }
    if (!volume.spec.address) {
      no('NoAddress', 'the operator has not given it an address yet');
      return NO_ADDRESS_RETRY_MS;
    }
    if (!answer) {
      no('SegmentNotAsked', 'the target served it a moment ago: the segment is asked before it is served again');
      return AT_ONCE_MS;
    }
    if ('error' in answer) {
      no('SegmentNotAsked', answer.error);
      return TARGET_RETRY_MS;
    }
    if (answer.stranger) {
      no('AddressConflict', status.get(VolumeCondition.AddressConflict)?.message ?? '');
      return this.#options.addressWatch.waitMs(volume.metadata.uid ?? '');
    }
    return undefined;
  }

  async #ask(question: Promise<Stranger | undefined>): Promise<Answer> {
    try {
      return { stranger: await question };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
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
