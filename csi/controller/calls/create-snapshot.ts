import { AOE_SNAPSHOTS } from '../../../api/resources.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { ensureSnapshot, type Refusals } from '../ensure-snapshot.ts';
import { findVolume } from '../find-volume.ts';
import { CREATED_BY } from '../request/request.ts';
import { resourceName } from '../request/resource-name.ts';
import { describeSnapshot } from '../snapshots.ts';

/** Parameters with this prefix are for csi-snapshotter, or from it. */
const RESERVED = 'csi.storage.k8s.io/';

/** After all other reasons the caller tries again. */
const REFUSALS: Refusals = {
  SnapshotsUnsupported: Code.FAILED_PRECONDITION,
  PoolFull: Code.RESOURCE_EXHAUSTED,
  VolumeNotFound: Code.NOT_FOUND,
  VolumeDeleting: Code.FAILED_PRECONDITION,
};

/** CreateSnapshot: creates an AoESnapshot and waits until it is taken. When it is repeated, it finds the AoESnapshot again. */
export async function createSnapshot(deps: Deps, request: csi.v1.ICreateSnapshotRequest, call: Call) {
  const name = resourceName(required(request.name, 'name'));
  const volumeName = required(request.sourceVolumeId, 'source_volume_id');
  const unknown = Object.keys(request.parameters ?? {}).filter((key) => !key.startsWith(RESERVED));
  if (unknown.length > 0) {
    const message = `VolumeSnapshotClass parameter ${unknown.join(', ')} is not known: there are none`;
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  }
  return deps.busy.run(name, 'CreateSnapshot', async () => {
    const wanted = { name, volumeName, volume: () => findVolume(deps, volumeName, call), annotations: annotationsOf(request) };
    const { snapshot, refused } = await ensureSnapshot(deps, wanted, REFUSALS, call);
    if (!refused) return { snapshot: describeSnapshot(snapshot) };
    // The caller may forget it now. One that a person made stays.
    const { uid, annotations } = snapshot.metadata;
    if (annotations?.[CREATED_BY] === 'csi') await deps.kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal: call.signal });
    throw refused;
  });
}

/** Where the snapshot comes from, for people. */
function annotationsOf({ parameters }: csi.v1.ICreateSnapshotRequest): Record<string, string> {
  const name = parameters?.[`${RESERVED}volumesnapshot/name`];
  const namespace = parameters?.[`${RESERVED}volumesnapshot/namespace`];
  return { [CREATED_BY]: 'csi', ...(name && namespace ? { 'aoe.dev/volume-snapshot': `${namespace}/${name}` } : {}) };
}
