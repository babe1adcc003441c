import { type AoESnapshot, isUncommitted } from '../../../api/snapshot.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { pageOf } from '../request/page.ts';
import { describeSnapshot, findSnapshot } from '../snapshots.ts';
import { CLONE_FOR } from '../source.ts';

/** Whether a snapshot exists for the caller: it was taken, its group is committed, and it does not only serve to make a clone. */
function isKnown({ metadata, spec, status }: AoESnapshot): boolean {
  return status?.createdAt !== undefined && !isUncommitted({ spec, status }) && metadata.annotations?.[CLONE_FOR] === undefined;
}

/** ListSnapshots: the AoESnapshots that were taken, in the order of their names. @throws RpcError ABORTED for a token that is not ours */
export function listSnapshots(deps: Deps, { maxEntries, startingToken, sourceVolumeId, snapshotId }: csi.v1.IListSnapshotsRequest) {
  const wanted = (snapshot: AoESnapshot): boolean =>
    isKnown(snapshot) &&
    (!snapshotId || snapshot.metadata.name === snapshotId) &&
    (!sourceVolumeId || snapshot.spec.volumeName === sourceVolumeId);
  const { page, nextToken } = pageOf(deps.snapshots.list().filter(wanted), { maxEntries, startingToken });
  return { entries: page.map((snapshot) => ({ snapshot: describeSnapshot(deps, snapshot) })), nextToken };
}

/** GetSnapshot: one snapshot. @throws RpcError NOT_FOUND, also while it is not taken: the CSI specification forbids to return it then */
export async function getSnapshot(deps: Deps, request: csi.v1.IGetSnapshotRequest, call: Call) {
  const snapshot = await findSnapshot(deps, required(request.snapshotId, 'snapshot_id'), call);
  if (!isKnown(snapshot)) {
    const message = `AoESnapshot ${snapshot.metadata.name} is not taken yet, or its group is not committed yet, or it only serves to make a clone`;
    throw new RpcError(Code.NOT_FOUND, message);
  }
  return { snapshot: describeSnapshot(deps, snapshot) };
}
