import { AOE_SNAPSHOT_GROUPS } from '../../../api/resources.ts';
import { TimeoutError } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { describeSnapshotReadiness } from '../snapshots.ts';
import { waitUntilGone } from '../wait.ts';
import { checkMembers, readGroup } from './groups.ts';

/** DeleteVolumeGroupSnapshot: deletes an AoESnapshotGroup, and waits until it is gone with all its members. */
export async function deleteGroupSnapshot(deps: Deps, request: csi.v1.IDeleteVolumeGroupSnapshotRequest, call: Call): Promise<object> {
  const name = required(request.groupSnapshotId, 'group_snapshot_id');
  return deps.busy.run(name, 'DeleteVolumeGroupSnapshot', async () => {
    const { signal } = call;
    const group = await readGroup(deps, name, call);
    if (!group) return {};
    checkMembers(group, request.snapshotIds);
    const { uid } = group.metadata;
    await deps.kube.delete(AOE_SNAPSHOT_GROUPS, name, { ...(uid ? { uid } : {}), signal });
    try {
      await waitUntilGone({ kube: deps.kube, store: deps.groups, type: AOE_SNAPSHOT_GROUPS }, group, call);
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      const left = (group.status?.members ?? []).flatMap((member) => {
        const snapshot = deps.snapshots.get(member.name);
        return snapshot ? [`AoESnapshot ${member.name} on node ${member.nodeName}: ${describeSnapshotReadiness(snapshot)}`] : [];
      });
      throw new RpcError(
        Code.DEADLINE_EXCEEDED,
        `AoESnapshotGroup ${name} is marked for deletion, and not gone yet: ${left.join('; ') || 'is the operator running?'}`,
      );
    }
    return {};
  });
}
