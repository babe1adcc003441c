import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS } from '../../../api/resources.ts';
import type { AoESnapshot } from '../../../api/snapshot.ts';
import { type AoESnapshotGroup, GROUP_READY } from '../../../api/snapshot-group.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Call, Deps } from '../deps.ts';
import { isResourceName } from '../request/resource-name.ts';
import { describeSnapshot } from '../snapshots.ts';

/** Undefined when there is none of that name, or none can have it. */
export async function readGroup(deps: Deps, name: string, { signal }: Call): Promise<AoESnapshotGroup | undefined> {
  return isResourceName(name) ? await deps.kube.get<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, name, { signal }) : undefined;
}

/** Why a group is not ready, for people. */
export function describeGroupReadiness({ status }: AoESnapshotGroup): string {
  return (
    status?.conditions?.find(({ type }) => type === GROUP_READY)?.message ?? 'its status has no condition yet; is the operator running?'
  );
}

/**
 * A committed group, as CSI describes it.
 * @returns undefined when a member as it was taken does not exist
 */
export async function describeGroup(
  deps: Deps,
  { metadata, status }: AoESnapshotGroup,
  { signal }: Call,
): Promise<csi.v1.IVolumeGroupSnapshot | undefined> {
  const isTaken = (member: AoESnapshot | undefined): member is AoESnapshot =>
    member?.spec.group?.uid === metadata.uid && member?.status?.createdAt !== undefined;
  const snapshots: csi.v1.ISnapshot[] = [];
  for (const { name } of status?.members ?? []) {
    const shown = deps.snapshots.get(name);
    // If the watch does not show it so, it may only be late.
    const member = isTaken(shown) ? shown : await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal });
    if (!isTaken(member)) return undefined;
    snapshots.push(describeSnapshot(deps, member));
  }
  const ms = Date.parse(status?.createdAt ?? '');
  return {
    groupSnapshotId: metadata.name,
    snapshots,
    creationTime: { seconds: int64(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 },
    readyToUse: snapshots.every(({ readyToUse }) => readyToUse),
  };
}

/** @throws RpcError INVALID_ARGUMENT when a caller takes other snapshots for the members of a group */
export function checkMembers({ metadata, status }: AoESnapshotGroup, snapshotIds: readonly string[] | null | undefined): void {
  // Of a group that has not begun, nobody can know them.
  if (!status?.members || !snapshotIds || snapshotIds.length === 0) return;
  const own = status.members.map(({ name }) => name).sort();
  const given = [...new Set(snapshotIds)].sort();
  if (own.join() === given.join()) return;
  throw new RpcError(
    Code.INVALID_ARGUMENT,
    `snapshot_ids: AoESnapshotGroup ${metadata.name} has the members ${own.join(', ')}, and not ${given.join(', ')}`,
  );
}
