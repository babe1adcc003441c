import type { Resource } from './meta.ts';
import type { AoESnapshotSpec, AoESnapshotStatus, MemberStep, SnapshotPhase } from './schema/snapshot.ts';

export type { AoESnapshotSpec, AoESnapshotStatus, MemberStep, SnapshotPhase };
export type AoESnapshot = Resource<AoESnapshotSpec, AoESnapshotStatus>;

/** Finalizer that keeps an AoESnapshot until its agent has removed the data or, if it is retained, released it. */
export const SNAPSHOT_FINALIZER = 'aoe.dev/backing-snapshot';

/** Condition types of an AoESnapshot. Each has one writer, named here. */
export const SnapshotCondition = {
  /** agent: the snapshot exists, whole, on the storage node. */
  Taken: 'Taken',
  /** agent: the nodes that copy the snapshot can read it. Absent while none is to. */
  Exported: 'Exported',
  /** operator: the summary. */
  Ready: 'Ready',
} as const;

/** Whether a node plugin has answered what the agent asks of it. An answer to thaw also ends the question to freeze. */
export function isAnswered(
  { id, stage, nodeName }: Pick<NonNullable<AoESnapshotStatus['freeze']>, 'id' | 'stage' | 'nodeName'>,
  frozen: AoESnapshotStatus['frozen'],
): boolean {
  if (frozen?.id !== id || frozen.nodeName !== nodeName) return false;
  return stage === 'Freezing' || frozen.state === 'Thawed';
}

/** Whether a snapshot belongs to a group that is not known to be committed: its data may not be used. */
export function isUncommitted({ spec, status }: Pick<AoESnapshot, 'spec' | 'status'>): boolean {
  return spec.group !== undefined && status?.committed !== true;
}

/** Whether a snapshot was taken, and its data is still being copied: it can be used when that is done. */
export function isBeingCopied({ status }: Pick<AoESnapshot, 'status'>): boolean {
  const taken = status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
  return taken?.reason === 'Copying' || taken?.reason === 'CopyFailed';
}

/** Whether a volume is to have the data of the snapshot in another pool or on another node: then the data is copied. */
export function isElsewhere(
  { status }: Pick<AoESnapshot, 'status'>,
  { pool, nodeName }: { pool?: string | undefined; nodeName?: string | undefined },
): boolean {
  return status?.pool !== pool || status?.nodeName !== nodeName;
}
