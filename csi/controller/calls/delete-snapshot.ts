import { AOE_SNAPSHOTS } from '../../../api/resources.ts';
import type { AoESnapshot } from '../../../api/snapshot.ts';
import { TimeoutError } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { readGroup } from '../group/groups.ts';
import { isResourceName } from '../request/resource-name.ts';
import { describeSnapshotReadiness } from '../snapshots.ts';
import { waitUntilGone } from '../wait.ts';

/** DeleteSnapshot: deletes an AoESnapshot and waits until it is gone. */
export async function deleteSnapshot(deps: Deps, request: csi.v1.IDeleteSnapshotRequest, call: Call): Promise<object> {
  const name = required(request.snapshotId, 'snapshot_id');
  // No AoESnapshot can have such a name.
  if (!isResourceName(name)) return {};
  return deps.busy.run(name, 'DeleteSnapshot', async () => {
    const { signal } = call;
    const snapshot = await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal });
    if (!snapshot) return {};
    const { group } = snapshot.spec;
    if (group && (await readGroup(deps, group.name, call))?.metadata.uid === group.uid) {
      const message = `AoESnapshot ${name} is a member of AoESnapshotGroup ${group.name}, and goes with it: use DeleteVolumeGroupSnapshot`;
      throw new RpcError(Code.INVALID_ARGUMENT, message);
    }
    const { uid } = snapshot.metadata;
    await deps.kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal });
    try {
      await waitUntilGone({ kube: deps.kube, store: deps.snapshots, type: AOE_SNAPSHOTS }, snapshot, call);
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      const last = deps.snapshots.get(name) ?? snapshot;
      throw new RpcError(
        Code.DEADLINE_EXCEEDED,
        `AoESnapshot ${name} is marked for deletion, and the agent on ${last.status?.nodeName} has not removed it yet: ${describeSnapshotReadiness(last)}`,
      );
    }
    return {};
  });
}
