import { isCommitted } from '../../../api/snapshot-group.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { checkMembers, describeGroup, describeGroupReadiness, readGroup } from './groups.ts';

/** GetVolumeGroupSnapshot: one committed group. @throws RpcError NOT_FOUND, INVALID_ARGUMENT */
export async function getGroupSnapshot(deps: Deps, request: csi.v1.IGetVolumeGroupSnapshotRequest, call: Call) {
  const name = required(request.groupSnapshotId, 'group_snapshot_id');
  const group = await readGroup(deps, name, call);
  if (!group) throw new RpcError(Code.NOT_FOUND, `AoESnapshotGroup ${name} does not exist`);
  checkMembers(group, request.snapshotIds);
  if (!isCommitted(group)) {
    throw new RpcError(
      Code.NOT_FOUND,
      `AoESnapshotGroup ${name} is not committed, so there is no snapshot: ${describeGroupReadiness(group)}`,
    );
  }
  const groupSnapshot = await describeGroup(deps, group, call);
  if (!groupSnapshot) throw new RpcError(Code.NOT_FOUND, `AoESnapshotGroup ${name} lacks a member: ${describeGroupReadiness(group)}`);
  return { groupSnapshot };
}
