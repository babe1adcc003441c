import { type AoESnapshot, isUncommitted, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { DELETION_WAITS } from '../../api/volume.ts';
import type { Result } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { BackendError } from '../backends/backend.ts';
import { Subscribers } from '../subscribers.ts';
import { failedBy, type Outcome, refused } from './outcome.ts';
import { type Place, placeOf, wasTaken } from './place.ts';
import type { SnapshotRecords } from './records.ts';
import { ensureTaken, type TakeContext } from './take.ts';

const RETRY_MS = 15_000;

export interface SnapshotReconcilerOptions extends TakeContext {
  /** Name of this node. */
  node: string;
  records: SnapshotRecords;
  /** Ends the work of this agent on a group, if there is any. Fulfilled when nothing of it goes on. @param uid of the AoESnapshotGroup */
  endGroup?: (uid: string) => Promise<void>;
  log: Logger;
}

/** Makes true what an AoESnapshot of a volume on this node asks for: takes it once, and removes it when it is deleted. */
export class SnapshotReconciler {
  readonly #options: SnapshotReconcilerOptions;
  readonly #subscribers = new Subscribers<string>();

  constructor(options: SnapshotReconcilerOptions) {
    this.#options = options;
  }

  /** Calls the listener with the name of a pool in which a snapshot was taken or removed. */
  subscribe(listener: (pool: string) => void): void {
    this.#subscribers.add(listener);
  }

  /** Reconciles one snapshot: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const { node, volumes, records, log } = this.#options;
    const found = records.get(name);
    const place = found && placeOf(found, volumes, node);
    if (!found || !place) return undefined;
    if (found.metadata.deletionTimestamp) return await this.#delete(found, place, signal);
    // A member is taken with its group. Then it is looked for as any other.
    if (found.spec.group && !wasTaken(found)) return undefined;

    let snapshot: AoESnapshot | undefined = found;
    const claim = async (): Promise<boolean> => {
      if (snapshot) snapshot = await records.claim(snapshot, place, signal);
      return snapshot !== undefined;
    };
    const outcome = await ensureTaken(this.#options, found, place, claim, signal);
    if (!outcome || !snapshot) return undefined;
    if (outcome.taken && !wasTaken(found)) {
      log.info({ snapshot: name, volume: found.spec.volumeName, name: outcome.taken.name }, 'snapshot taken');
      this.#subscribers.emit(place.pool);
    }
    await records.report(snapshot, place, outcome, signal);
    return outcome.retryMs === undefined ? undefined : { requeueAfterMs: outcome.retryMs };
  }

  async #delete(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<Result | undefined> {
    const { records, endGroup, log } = this.#options;
    const { name, uid, finalizers = [] } = snapshot.metadata;
    // Without it nothing was made.
    if (!finalizers.includes(SNAPSHOT_FINALIZER)) return undefined;
    // What is just being made must not come after the removal.
    if (snapshot.spec.group) await endGroup?.(snapshot.spec.group.uid);
    const wait = await this.#remove(snapshot, place, signal);
    if (wait) {
      const { verdict } = wait;
      await records.report(snapshot, place, { verdict: { ...verdict, message: `${DELETION_WAITS}${verdict.message}` } }, signal);
      return { requeueAfterMs: RETRY_MS };
    }
    await records.release(snapshot, signal);
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
      // Nobody is to keep a member that may show another instant than the others.
      if (snapshot.spec.deletionPolicy === 'Retain' && !isUncommitted(snapshot)) await snapshots?.retain(uid, signal);
      else await snapshots?.remove(uid, signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      // Where the pool is missing, nothing was taken.
      if (error instanceof BackendError && error.reason === 'PoolMissing' && !wasTaken(snapshot)) return undefined;
      return failedBy(error);
    }
  }
}
