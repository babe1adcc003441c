import type { Resource } from './meta.ts';
import type { AoESnapshotGroupSpec, AoESnapshotGroupStatus, GroupStage } from './schema/snapshot-group.ts';

export type { AoESnapshotGroupSpec, AoESnapshotGroupStatus, GroupStage };
export type AoESnapshotGroup = Resource<AoESnapshotGroupSpec, AoESnapshotGroupStatus>;
/** A member as the status names it. */
export type GroupMember = NonNullable<AoESnapshotGroupStatus['members']>[number];

/** Finalizer that keeps an AoESnapshotGroup until its members are gone. */
export const GROUP_FINALIZER = 'aoe.dev/members';

/** Condition type of an AoESnapshotGroup. The operator writes it: the summary. */
export const GROUP_READY = 'Ready';

const UNDER_WAY: ReadonlySet<GroupStage | undefined> = new Set(['Preparing', 'Holding', 'Taking']);

/** Whether agents may be working on a group, or holding volumes for it. */
export function isUnderWay({ status }: Pick<AoESnapshotGroup, 'status'>): boolean {
  return UNDER_WAY.has(status?.stage);
}

/** Whether all members of a group were held throughout at one instant. Once it is, it stays so. */
export function isCommitted({ status }: Pick<AoESnapshotGroup, 'status'>): boolean {
  return status?.stage === 'Committed';
}
