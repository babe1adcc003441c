import { sameAddress } from '../../api/address.ts';
import { type AoESnapshot, isUncommitted, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { DELETION_WAITS } from '../../api/volume.ts';
import type { Result } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { BackendError } from '../backends/backend.ts';
import { Subscribers } from '../subscribers.ts';
import { type CopyExport, type CopyReport, reportedCopies } from './copy-export.ts';
import { failedBy, type Outcome, refused, taken } from './outcome.ts';
import { type Place, placeOf, wasTaken } from './place.ts';
import type { SnapshotRecords } from './records.ts';
import { ensureTaken, type TakeContext } from './take.ts';

const RETRY_MS = 15_000;

export interface SnapshotReconcilerOptions extends TakeContext {
  /** Name of this node. */
  node: string;
  records: SnapshotRecords;
  /** Serves snapshots that other nodes copy. */
  copyExport: Pick<CopyExport, 'reconcile'>;
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
    const { copies, retryMs } = await this.#serve(snapshot, place, outcome, signal);
    await records.report(records.get(name) ?? snapshot, place, outcome, signal, undefined, { copies });
    const waitsMs = [outcome.retryMs, retryMs].filter((each) => each !== undefined);
    return waitsMs.length === 0 ? undefined : { requeueAfterMs: Math.min(...waitsMs) };
  }

  /** Serves a snapshot that was taken for as long as other nodes copy it. */
  async #serve(
    snapshot: AoESnapshot,
    place: Place,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<{ copies: CopyReport; retryMs?: number }> {
    const { pools, backendOf, records, copyExport } = this.#options;
    const pool = pools.get(place.pool);
    const backend = pool && backendOf(pool).snapshots;
    if (!outcome.taken || !backend) return { copies: reportedCopies(snapshot) };
    const { copyAddress } = snapshot.status ?? {};
    const claim = async (copies: CopyReport): Promise<boolean> => {
      const still = (now: AoESnapshot): boolean => sameAddress(now.status?.copyAddress, copyAddress);
      return (await records.report(snapshot, place, outcome, signal, undefined, { copies, still })) !== undefined;
    };
    const { report, retryMs } = await copyExport.reconcile(snapshot, backend, claim, signal);
    return { copies: report, ...(retryMs === undefined ? {} : { retryMs }) };
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
      const waits = { verdict: { ...verdict, message: `${DELETION_WAITS}${verdict.message}` } };
      const { copies } = wait;
      await records.report(records.get(name) ?? snapshot, place, waits, signal, undefined, copies ? { copies } : {});
      return { requeueAfterMs: wait.retryMs ?? RETRY_MS };
    }
    await records.release(snapshot, signal);
    log.info({ snapshot: name, uid, pool: place.pool }, 'snapshot removed');
    this.#subscribers.emit(place.pool);
    return undefined;
  }

  /** @returns what the deletion waits for; undefined when the data is removed, or belongs to the administrator */
  async #remove(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<(Outcome & { copies?: CopyReport }) | undefined> {
    const { pools, backendOf, copyExport } = this.#options;
    const { uid = '' } = snapshot.metadata;
    const pool = pools.get(place.pool);
    if (!pool) return refused('NoSuchPool', `AoEPool ${place.pool} does not exist: create it, so that its snapshot can be removed`);
    const { snapshots } = backendOf(pool);
    const { copies = [] } = snapshot.status ?? {};
    if (copies.length > 0) {
      const names = copies.map(({ volume, node }) => `AoEVolume ${volume} on node ${node}`).join(', ');
      const found = snapshots && (await snapshots.find(uid, signal).catch(() => undefined));
      const served = found && (await this.#serve(snapshot, place, taken(found), signal));
      const waits = refused('Copied', `it is being copied to ${names}: wait for that, or delete what is made of it`, served?.retryMs);
      return { ...waits, ...(served ? { copies: served.copies } : {}) };
    }
    try {
      if (snapshots) {
        const { report, retryMs } = await copyExport.reconcile(snapshot, snapshots, async () => false, signal);
        if (report.exported) return { ...refused(report.exported.reason, report.exported.message, retryMs), copies: report };
      }
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
