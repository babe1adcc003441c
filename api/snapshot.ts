import type { Resource } from './meta.ts';
import type { AoESnapshotSpec, AoESnapshotStatus, SnapshotPhase } from './schema/snapshot.ts';

export type { AoESnapshotSpec, AoESnapshotStatus, SnapshotPhase };
export type AoESnapshot = Resource<AoESnapshotSpec, AoESnapshotStatus>;

/** Finalizer that keeps an AoESnapshot until its agent has removed the data or, if it is retained, released it. */
export const SNAPSHOT_FINALIZER = 'aoe.dev/backing-snapshot';

/** Condition types of an AoESnapshot. Each has one writer, named here. */
export const SnapshotCondition = {
  /** agent: the snapshot exists, whole, on the storage node. */
  Taken: 'Taken',
  /** operator: the summary. */
  Ready: 'Ready',
} as const;
