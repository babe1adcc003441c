import { sameAddress } from '../../api/address.ts';
import { type AoESnapshot, isUncommitted, SNAPSHOT_FINALIZER, SnapshotCondition } from '../../api/snapshot.ts';
import { DELETION_WAITS } from '../../api/volume.ts';
import type { Result } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { BackendError, type BackingSnapshot, type Snapshots } from '../backends/backend.ts';
import type { CopierApi } from '../copier/api.ts';
import { endJobs } from '../copier/job-id.ts';
import { Jobs } from '../jobs/jobs.ts';
import { REMOVAL_MS } from '../jobs/removal-ms.ts';
import { Subscribers } from '../subscribers.ts';
import { type CopyExport, type CopyReport, reportedCopies } from './copy-export.ts';
import { advanceCopyOut, type CopyOutContext } from './copy-out.ts';
import { failedBy, type Outcome, refused, taken } from './outcome.ts';
import { type Place, placeOf, wasTaken } from './place.ts';
import type { SnapshotRecords } from './records.ts';
import { ensureTaken, isMoving, type SingleContext } from './take.ts';

const RETRY_MS = 15_000;

/** What a deletion waits for. */
type RemovalWait = Outcome & { copies?: CopyReport };

export interface SnapshotReconcilerOptions extends SingleContext {
  /** Name of this node. */
  node: string;
  records: SnapshotRecords;
  /** Serves snapshots that other nodes copy. */
  copyExport: Pick<CopyExport, 'reconcile'>;
  /** Copies the data of snapshots that are not whole when they are taken. */
  copyOut: CopyOutContext & { copier: Pick<CopierApi, 'list' | 'start' | 'remove'> };
  /** Ends the work of this agent on a group, if there is any. Fulfilled when nothing of it goes on. @param uid of the AoESnapshotGroup */
  endGroup?: (uid: string) => Promise<void>;
  /** Ends removals, which go on beside reconciles. */
  signal: AbortSignal;
  log: Logger;
}

export type SnapshotEvent =
  /** A snapshot was taken, became whole or was removed: its pool has another size, and its volume may be free to grow. `volume` is the name of the AoEVolume. */
  | { pool: string; volume: string }
  /** The removal of a snapshot has ended: it is to be reconciled. */
  | { snapshot: string };

/** Makes true what an AoESnapshot of a volume on this node asks for: takes it once, and removes it when it is deleted. */
export class SnapshotReconciler {
  readonly #options: SnapshotReconcilerOptions;
  readonly #subscribers = new Subscribers<SnapshotEvent>();
  /** `result`: what the deletion waits for; undefined when the data is removed, or belongs to the administrator. */
  readonly #removals: Jobs<RemovalWait | undefined>;

  constructor(options: SnapshotReconcilerOptions) {
    this.#options = options;
    this.#removals = new Jobs({ signal: options.signal, limitMs: REMOVAL_MS.limit });
  }

  /** Calls the listener after each change. */
  subscribe(listener: (event: SnapshotEvent) => void): void {
    this.#subscribers.add(listener);
  }

  /** Fulfilled when no snapshot is being removed. */
  idle(): Promise<void> {
    return this.#removals.idle();
  }

  /** Reconciles one snapshot: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const { node, volumes, records, log } = this.#options;
    const found = records.get(name);
    this.#removals.forget(name, { except: found?.metadata.uid });
    const place = found && placeOf(found, volumes, node);
    if (!found || !place) return undefined;
    if (found.metadata.deletionTimestamp) return await this.#delete(found, place, signal);
    // A member is taken with its group. Then it is looked for as any other.
    if (found.spec.group && !wasTaken(found)) return undefined;

    // Not even recorded: the volume may be on another node after its move.
    const volume = volumes.get(found.spec.volumeName);
    if (!place.isRecorded && volume && isMoving(volume)) return { requeueAfterMs: RETRY_MS };

    let snapshot: AoESnapshot | undefined = found;
    const claim = async (): Promise<boolean> => {
      if (snapshot) snapshot = await records.claim(snapshot, place, signal);
      return snapshot !== undefined;
    };
    const first = await ensureTaken(this.#options, found, place, claim, signal);
    if (!first || !snapshot) return undefined;
    const backend = this.#backend(place);
    const outcome = first.taken?.unfinished ? await this.#copyOut(name, first.taken, backend, signal) : first;
    if (first.taken && !wasTaken(found)) {
      log.info({ snapshot: name, volume: found.spec.volumeName, name: first.taken.name }, 'snapshot taken');
      this.#emit(found, place);
    } else if (outcome.verdict.status === 'True' && !isWhole(found)) {
      log.info({ snapshot: name, volume: found.spec.volumeName }, 'snapshot is whole');
      this.#emit(found, place);
    }
    const { copies, retryMs } = await this.#serve(snapshot, place, outcome, signal);
    await records.report(records.get(name) ?? snapshot, place, outcome, signal, undefined, { copies });
    const waitsMs = [outcome.retryMs, retryMs].filter((each) => each !== undefined);
    return waitsMs.length === 0 ? undefined : { requeueAfterMs: Math.min(...waitsMs) };
  }

  async #copyOut(name: string, snapshot: BackingSnapshot, backend: Snapshots | undefined, signal: AbortSignal): Promise<Outcome> {
    if (!backend?.copyOut) return taken(snapshot);
    return await advanceCopyOut(this.#options.copyOut, backend.copyOut, { snapshot, name }, signal);
  }

  #backend({ pool: name }: Place): Snapshots | undefined {
    const pool = this.#options.pools.get(name);
    return pool && this.#options.backendOf(pool).snapshots;
  }

  #emit({ spec }: AoESnapshot, { pool }: Place): void {
    this.#subscribers.emit({ pool, volume: spec.volumeName });
  }

  /** Serves a snapshot that was taken for as long as other nodes copy it. */
  async #serve(
    snapshot: AoESnapshot,
    place: Place,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<{ copies: CopyReport; retryMs?: number }> {
    const { records, copyExport } = this.#options;
    const backend = this.#backend(place);
    if (!outcome.taken || outcome.taken.unfinished || !backend) return { copies: reportedCopies(snapshot) };
    const { copyAddress } = snapshot.status ?? {};
    const claim = async (copies: CopyReport): Promise<boolean> => {
      const still = (now: AoESnapshot): boolean => sameAddress(now.status?.copyAddress, copyAddress);
      return (await records.report(snapshot, place, outcome, signal, undefined, { copies, still })) !== undefined;
    };
    const { report, retryMs } = await copyExport.reconcile(snapshot, backend, claim, signal);
    return { copies: report, ...(retryMs === undefined ? {} : { retryMs }) };
  }

  async #delete(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<Result | undefined> {
    const { records, log } = this.#options;
    const { name, uid = '', finalizers = [] } = snapshot.metadata;
    // Without it nothing was made.
    if (!finalizers.includes(SNAPSHOT_FINALIZER)) return undefined;
    const outcome = await this.#removals.run({ key: uid, name }, (stop) => this.#remove(snapshot, place, stop), {
      patienceMs: REMOVAL_MS.patience,
      ended: () => this.#subscribers.emit({ snapshot: name }),
    });
    if (!outcome) return undefined;
    if ('error' in outcome) throw outcome.error;
    const wait = outcome.result;
    if (wait) {
      const { verdict } = wait;
      const waits = { verdict: { ...verdict, message: `${DELETION_WAITS}${verdict.message}` } };
      const { copies } = wait;
      await records.report(records.get(name) ?? snapshot, place, waits, signal, undefined, copies ? { copies } : {});
      return { requeueAfterMs: wait.retryMs ?? RETRY_MS };
    }
    await records.release(snapshot, signal);
    log.info({ snapshot: name, uid, pool: place.pool }, 'snapshot removed');
    this.#emit(snapshot, place);
    return undefined;
  }

  /** @returns what the deletion waits for; undefined when the data is removed, or belongs to the administrator */
  async #remove(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<RemovalWait | undefined> {
    const { pools, backendOf, copyExport, endGroup } = this.#options;
    // What is just being made must not come after the removal.
    if (snapshot.spec.group) await endGroup?.(snapshot.spec.group.uid);
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
      const unfinished = snapshots?.copyOut && (await snapshots.find(uid, signal));
      if (unfinished?.unfinished) return await this.#removeUnfinished(snapshot, unfinished, snapshots, signal);
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

  /** One that is to be kept is made whole first. @throws BackendError */
  async #removeUnfinished(
    snapshot: AoESnapshot,
    found: BackingSnapshot,
    snapshots: Snapshots | undefined,
    signal: AbortSignal,
  ): Promise<Outcome | undefined> {
    if (snapshot.spec.deletionPolicy === 'Retain' && !isUncommitted(snapshot)) {
      const outcome = await this.#copyOut(snapshot.metadata.name, found, snapshots, signal);
      if (outcome.verdict.status !== 'True') return outcome;
      await snapshots?.retain(found.uid, signal);
      return undefined;
    }
    const hung = await endJobs(this.#options.copyOut.copier, found.uid, signal);
    if (hung) throw hung;
    await snapshots?.remove(found.uid, signal);
    return undefined;
  }
}

/** Whether the status says that the snapshot is whole. */
function isWhole({ status }: AoESnapshot): boolean {
  return status?.conditions?.some((each) => each.type === SnapshotCondition.Taken && each.status === 'True') ?? false;
}
