import { formatQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS } from '../../api/resources.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER, SnapshotCondition } from '../../api/snapshot.ts';
import { DELETION_WAITS } from '../../api/volume.ts';
import { applyStatus, isNotFound, type Kube, OwnWrites, type Result, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { BackendError } from '../backends/backend.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { Subscribers } from '../subscribers.ts';
import { failedBy, type Outcome, refused } from './outcome.ts';
import { type Place, placeOf, wasTaken } from './place.ts';
import { ensureTaken, type TakeContext } from './take.ts';

const RETRY_MS = 15_000;

export interface SnapshotReconcilerOptions extends TakeContext {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'patch' | 'get'>;
  /** The AoESnapshots of the cluster. */
  snapshots: Store<AoESnapshot>;
  log: Logger;
}

/** Makes true what an AoESnapshot of a volume on this node asks for: takes it once, and removes it when it is deleted. */
export class SnapshotReconciler {
  readonly #options: SnapshotReconcilerOptions;
  readonly #snapshots: OwnWrites<AoESnapshot>;
  readonly #subscribers = new Subscribers<string>();

  constructor(options: SnapshotReconcilerOptions) {
    this.#options = options;
    this.#snapshots = new OwnWrites(options.snapshots);
  }

  /** Calls the listener with the name of a pool in which a snapshot was taken or removed. */
  subscribe(listener: (pool: string) => void): void {
    this.#subscribers.add(listener);
  }

  /** Reconciles one snapshot: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const { node, volumes, log } = this.#options;
    const found = this.#snapshots.get(name);
    const place = found && placeOf(found, volumes, node);
    if (!found || !place) return undefined;
    if (found.metadata.deletionTimestamp) return await this.#delete(found, place, signal);

    let snapshot: AoESnapshot | undefined = found;
    const claim = async (): Promise<boolean> => {
      if (snapshot) snapshot = await this.#claim(snapshot, place, signal);
      return snapshot !== undefined;
    };
    const outcome = await ensureTaken(this.#options, found, place, claim, signal);
    if (!outcome || !snapshot) return undefined;
    if (outcome.taken && !wasTaken(found)) {
      log.info({ snapshot: name, volume: found.spec.volumeName, name: outcome.taken.name }, 'snapshot taken');
      this.#subscribers.emit(place.pool);
    }
    await this.#report(snapshot, place, outcome, signal);
    return outcome.retryMs === undefined ? undefined : { requeueAfterMs: outcome.retryMs };
  }

  /**
   * Records that the snapshot is this node's before anything is made: the place first, so that whoever sees the finalizer knows which
   * agent has to remove it.
   * @returns the AoESnapshot as it is now; undefined when it is gone
   */
  async #claim(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<AoESnapshot | undefined> {
    const taking = refused('Taking', 'the snapshot is being taken');
    const recorded = place.isRecorded ? snapshot : await this.#report(snapshot, place, taking, signal);
    if (!recorded) return undefined;
    const { name, uid, resourceVersion, finalizers = [] } = recorded.metadata;
    if (finalizers.includes(SNAPSHOT_FINALIZER)) return recorded;
    const patch = { metadata: { uid, resourceVersion, finalizers: [...finalizers, SNAPSHOT_FINALIZER] } };
    try {
      const claimed = await this.#options.kube.patch<AoESnapshot>(AOE_SNAPSHOTS, name, patch, { signal });
      this.#snapshots.confirm(claimed);
      return claimed;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #delete(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<Result | undefined> {
    const { kube, log } = this.#options;
    const { name, uid, resourceVersion, finalizers = [] } = snapshot.metadata;
    // Without it nothing was made.
    if (!finalizers.includes(SNAPSHOT_FINALIZER)) return undefined;
    const wait = await this.#remove(snapshot, place, signal);
    if (wait) {
      const { verdict } = wait;
      await this.#report(snapshot, place, { verdict: { ...verdict, message: `${DELETION_WAITS}${verdict.message}` } }, signal);
      return { requeueAfterMs: RETRY_MS };
    }
    const left = finalizers.filter((finalizer) => finalizer !== SNAPSHOT_FINALIZER);
    try {
      await kube.patch(AOE_SNAPSHOTS, name, { metadata: { uid, resourceVersion, finalizers: left } }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    this.#snapshots.drop(name);
    log.info({ snapshot: name, uid, pool: place.pool }, 'snapshot removed');
    this.#subscribers.emit(place.pool);
    return undefined;
  }

  /** @returns what the deletion waits for; undefined when the data is removed, or belongs to the administrator */
  async #remove(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<Outcome | undefined> {
    const { pools, backendOf } = this.#options;
    const { uid = '' } = snapshot.metadata;
    const pool = pools.get(place.pool);
    if (!pool) return refused('NoSuchPool', `AoEPool ${place.pool} does not exist: create it, so that its snapshot can be removed`);
    const { snapshots } = backendOf(pool);
    try {
      if (snapshot.spec.deletionPolicy === 'Retain') await snapshots?.retain(uid, signal);
      else await snapshots?.remove(uid, signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      // Where the pool is missing, nothing was taken.
      if (error instanceof BackendError && error.reason === 'PoolMissing' && !wasTaken(snapshot)) return undefined;
      return failedBy(error);
    }
  }

  /** Writes the agent's part of the status. What was once found out about a snapshot stays. */
  async #report(
    snapshot: AoESnapshot,
    { pool, volumeUID }: Place,
    { verdict, taken }: Outcome,
    signal: AbortSignal,
  ): Promise<AoESnapshot | undefined> {
    const { node, kube, log } = this.#options;
    const { capacity, createdAt } = snapshot.status ?? {};
    const data = taken ? { capacity: formatQuantity(taken.bytes), createdAt: taken.createdAt } : { capacity, createdAt };
    const condition = { type: SnapshotCondition.Taken, ...verdict, observedGeneration: snapshot.metadata.generation };
    const before = snapshot.status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
    if (verdict.status === 'False' && verdict.reason !== 'Taking' && before?.reason !== verdict.reason)
      log.warn({ snapshot: snapshot.metadata.name, reason: verdict.reason, detail: verdict.message }, 'snapshot not taken');
    const fields = { nodeName: node, pool, volumeUID, ...data };
    const options = { manager: FIELD_MANAGER, conditions: [condition], fields, signal };
    const written = await applyStatus(kube, AOE_SNAPSHOTS, snapshot, options);
    if (written) this.#snapshots.confirm(written);
    return written;
  }
}
