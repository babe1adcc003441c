import { type AoESnapshot, isUncommitted } from '../../../api/snapshot.ts';
import type { csi } from '../../../rpc/mod.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { pageOf } from '../request/page.ts';
import { describeSnapshot, findSnapshot } from '../snapshots.ts';
import { CLONE_FOR } from '../source.ts';

/** ListSnapshots: the AoESnapshots that were taken, in the order of their names. @throws RpcError ABORTED for a token that is not ours */
export function listSnapshots(deps: Deps, { maxEntries, startingToken, sourceVolumeId, snapshotId }: csi.v1.IListSnapshotsRequest) {
  const wanted = ({ metadata, spec, status }: AoESnapshot): boolean =>
    status?.createdAt !== undefined &&
    !isUncommitted({ spec, status }) &&
    // A clone is being made of it.
    metadata.annotations?.[CLONE_FOR] === undefined &&
    (!snapshotId || metadata.name === snapshotId) &&
    (!sourceVolumeId || spec.volumeName === sourceVolumeId);
  const { page, nextToken } = pageOf(deps.snapshots.list().filter(wanted), { maxEntries, startingToken });
  return { entries: page.map((snapshot) => ({ snapshot: describeSnapshot(deps, snapshot) })), nextToken };
}

/** GetSnapshot: one snapshot. @throws RpcError NOT_FOUND */
export async function getSnapshot(deps: Deps, request: csi.v1.IGetSnapshotRequest, call: Call) {
  return { snapshot: describeSnapshot(deps, await findSnapshot(deps, required(request.snapshotId, 'snapshot_id'), call)) };
}
