import { formatQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS } from '../../api/resources.ts';
import { type AoESnapshot, type AoESnapshotStatus, SNAPSHOT_FINALIZER, SnapshotCondition } from '../../api/snapshot.ts';
import { applyStatus, isNotFound, type Kube, OwnWrites, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { type CopyReport, reportedCopies } from './copy-export.ts';
import { type Outcome, refused } from './outcome.ts';
import type { Place } from './place.ts';

export interface SnapshotRecordsOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'patch' | 'get'>;
  /** The AoESnapshots of the cluster. */
  snapshots: Store<AoESnapshot>;
  log: Pick<Logger, 'warn'>;
}

/** Reasons that are no news for the log. */
const UNDER_WAY = new Set(['Taking', 'Freezing']);

export interface ReportOptions {
  /** What is served for copies. Default: as it was. */
  readonly copies?: CopyReport;
  /** What is asked of a node that has the volume mounted. Default: as it was. */
  readonly freeze?: AoESnapshotStatus['freeze'];
  /** Whether it is to be written after somebody else has changed the snapshot. Default: always. */
  readonly still?: (now: AoESnapshot) => boolean;
}

/** What the agent writes to AoESnapshots, and the AoESnapshots with what it has written. */
export class SnapshotRecords {
  readonly #options: SnapshotRecordsOptions;
  readonly #snapshots: OwnWrites<AoESnapshot>;

  constructor(options: SnapshotRecordsOptions) {
    this.#options = options;
    this.#snapshots = new OwnWrites(options.snapshots);
  }

  get(name: string): AoESnapshot | undefined {
    return this.#snapshots.get(name);
  }

  /**
   * Records that the snapshot is this node's before anything is made: the place first, so that whoever sees the finalizer knows which
   * agent has to remove it.
   * @returns the AoESnapshot as it is now; undefined when it is gone
   */
  async claim(snapshot: AoESnapshot, place: Place, signal: AbortSignal): Promise<AoESnapshot | undefined> {
    const taking = refused('Taking', 'the snapshot is being taken');
    const recorded = place.isRecorded ? snapshot : await this.report(snapshot, place, taking, signal);
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

  /**
   * Writes the agent's part of the status. What was once found out about a snapshot stays.
   * @param member how far the agent is with a member of a group; undefined: as it was
   * @returns the AoESnapshot as it is now; undefined when it is gone
   */
  async report(
    snapshot: AoESnapshot,
    { pool, volumeUID, encryption }: Place,
    { verdict, taken }: Outcome,
    signal: AbortSignal,
    member: AoESnapshotStatus['member'] = snapshot.status?.member,
    { copies = reportedCopies(snapshot), freeze, still }: ReportOptions = {},
  ): Promise<AoESnapshot | undefined> {
    const { node, kube, log } = this.#options;
    const { capacity, createdAt } = snapshot.status ?? {};
    const known = this.#snapshots.get(snapshot.metadata.name);
    // What was asked of a node since the caller has read the snapshot stays asked.
    const asked = freeze ?? (known && known.metadata.uid === snapshot.metadata.uid ? known : snapshot).status?.freeze;
    const data = taken ? { capacity: formatQuantity(taken.bytes), createdAt: taken.createdAt } : { capacity, createdAt };
    const condition = { type: SnapshotCondition.Taken, ...verdict, observedGeneration: snapshot.metadata.generation };
    const before = snapshot.status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
    if (verdict.status === 'False' && !UNDER_WAY.has(verdict.reason) && before?.reason !== verdict.reason)
      log.warn({ snapshot: snapshot.metadata.name, reason: verdict.reason, detail: verdict.message }, 'snapshot not taken');
    const { served: copyServed, exported } = copies;
    const source = { nodeName: node, pool, volumeUID, ...(encryption ? { encryption } : {}) };
    const fields = { ...source, ...data, ...(member ? { member } : {}), ...(asked ? { freeze: asked } : {}), copyServed };
    const conditions = [
      condition,
      ...(exported ? [{ type: SnapshotCondition.Exported, ...exported, observedGeneration: snapshot.metadata.generation }] : []),
    ];
    const options = { manager: FIELD_MANAGER, conditions, fields, ...(still ? { still } : {}), signal };
    const written = await applyStatus(kube, AOE_SNAPSHOTS, snapshot, options);
    if (written) this.#snapshots.confirm(written);
    return written;
  }

  /** Takes the finalizer off: the AoESnapshot may go. */
  async release({ metadata: { name, uid, resourceVersion, finalizers = [] } }: AoESnapshot, signal: AbortSignal): Promise<void> {
    const left = finalizers.filter((finalizer) => finalizer !== SNAPSHOT_FINALIZER);
    try {
      await this.#options.kube.patch(AOE_SNAPSHOTS, name, { metadata: { uid, resourceVersion, finalizers: left } }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    this.#snapshots.drop(name);
  }
}
