import { sameAddress } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_SNAPSHOTS, AOE_VOLUMES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, Result, Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { exportId } from '../snapshot/copy-export.ts';
import type { TargetVolumeState } from './api.ts';
import type { TargetConnection } from './connection.ts';

const CHECK_EVERY_MS = 60_000;
/**
 * How long an export without an AoEVolume is left alone when nothing but the absence of the AoEVolume speaks against it: a little less than
 * the time between checks, so that the second check confirms the first.
 */
export const PATIENCE_MS = CHECK_EVERY_MS - 5_000;

export interface OrphanedExportsOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'list'>;
  /** The AoEVolumes of this node; synced. */
  volumes: Pick<Store<AoEVolume>, 'list'>;
  /** The AoESnapshots of the cluster. */
  snapshots: Pick<Store<AoESnapshot>, 'list'>;
  /** Synced. */
  pools: Pick<Store<AoEPool>, 'list'>;
  target: Pick<TargetConnection, 'connected' | 'states' | 'unexport'>;
  log: Logger;
  now?: () => number;
}

/** What the API server knows of an exported volume that is none of this node's AoEVolumes. */
type Finding =
  /** Its AoEVolume is placed here, and the watch is late; or it is placed nowhere. */
  | { kind: 'known' }
  /** An object says that this node must not serve it. */
  | { kind: 'mustNotServe'; why: string }
  /** Nothing is known of it. */
  | { kind: 'absent' };

/**
 * Takes exported volumes off the segment that are not this node's to serve any more. The data stays.
 *
 * The target serves from its own state, so a node that was away for long may serve what has been given up or moved meanwhile. Such an
 * export ends at once when an object of the API server speaks against it: its AoEVolume is placed on another node, its address was given
 * to another node's AoEVolume, or its pool's status says that it was given up. When its AoEVolume is merely absent, for example because a user removed
 * the finalizer, the export ends only if the AoEVolume stays absent for {@link PATIENCE_MS}. So does the export of a snapshot, for copies,
 * when its AoESnapshot is absent; as long as that exists, its own reconcile ends the export.
 */
export class OrphanedExports {
  readonly #options: OrphanedExportsOptions;
  readonly #now: () => number;
  /** Since when the AoEVolumes of exports are absent, by UID. */
  #absentSince = new Map<string, number>();

  constructor(options: OrphanedExportsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Checks once: for kube's Controller.
   * @throws KubeError, TargetError
   */
  async reconcile(signal: AbortSignal): Promise<Result> {
    const { node, kube, volumes, snapshots, target } = this.#options;
    if (target.connected) {
      const idsOf = (list: readonly AoESnapshot[]): string[] => list.filter(({ status }) => status?.nodeName === node).map(exportId);
      const known = new Set([...volumes.list().map(({ metadata }) => metadata.uid ?? ''), ...idsOf(snapshots.list())]);
      let unknown = target.states().filter(({ volume }) => !known.has(volume.uid));
      if (unknown.some(({ volume }) => volume.forCopies)) {
        // The watch may be late.
        const present = new Set(idsOf((await kube.list<AoESnapshot>(AOE_SNAPSHOTS, { signal })).items));
        unknown = unknown.filter(({ volume }) => !present.has(volume.uid));
      }
      const cluster = unknown.length > 0 ? (await kube.list<AoEVolume>(AOE_VOLUMES, { signal })).items : [];
      await this.#withdraw(this.#decide(unknown, cluster), signal);
    }
    return { requeueAfterMs: CHECK_EVERY_MS };
  }

  /** The exports to withdraw now, by UID, and why. */
  #decide(unknown: readonly TargetVolumeState[], cluster: readonly AoEVolume[]): Map<string, string> {
    const now = this.#now();
    const before = this.#absentSince;
    const due = new Map<string, string>();
    this.#absentSince = new Map();
    for (const state of unknown) {
      const { uid } = state.volume;
      const finding = this.#find(state, cluster);
      if (finding.kind === 'mustNotServe') due.set(uid, finding.why);
      if (finding.kind !== 'absent') continue;
      const since = before.get(uid) ?? now;
      this.#absentSince.set(uid, since);
      if (now - since >= PATIENCE_MS) due.set(uid, `there is no ${state.volume.forCopies ? 'AoESnapshot' : 'AoEVolume'} with its UID`);
    }
    return due;
  }

  #find({ volume: { uid, shelf, slot } }: TargetVolumeState, cluster: readonly AoEVolume[]): Finding {
    const { node, pools } = this.#options;
    const owner = cluster.find(({ metadata }) => metadata.uid === uid);
    if (owner) {
      const { nodeName } = owner.spec;
      if (nodeName === undefined || nodeName === node) return { kind: 'known' };
      return { kind: 'mustNotServe', why: `AoEVolume ${owner.metadata.name} is placed on node ${nodeName}` };
    }
    for (const { metadata, status } of pools.list()) {
      const abandoned = status?.abandoned?.find((entry) => entry.uid === uid && entry.node === node);
      if (abandoned)
        return {
          kind: 'mustNotServe',
          why: `AoEVolume ${abandoned.volume} of pool ${metadata.name} was given up or moved, and is deleted`,
        };
    }
    // A volume of this node at the same address does not count: this agent exports it only once the address is free.
    const newOwner = cluster.find(
      (other) => isPlaced(other) && other.spec.nodeName !== node && sameAddress(other.spec.address, { shelf, slot }),
    );
    if (!newOwner) return { kind: 'absent' };
    return {
      kind: 'mustNotServe',
      why: `its address belongs to AoEVolume ${newOwner.metadata.name} on node ${newOwner.spec.nodeName} now`,
    };
  }

  /** All at once, since each may have to wait for its disk; each one, even if others fail. @throws TargetError */
  async #withdraw(due: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { target, log } = this.#options;
    const withdrawals = [...due].map(async ([uid, why]) => {
      await target.unexport(uid, signal);
      log.warn({ uid, why }, 'an exported volume was taken off the segment');
    });
    const failed = (await Promise.allSettled(withdrawals)).find(({ status }) => status === 'rejected');
    signal.throwIfAborted();
    if (failed?.status === 'rejected') throw failed.reason;
  }
}
