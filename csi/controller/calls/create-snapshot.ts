import { CREATED_BY } from '../../../api/meta.ts';
import { AOE_SNAPSHOTS } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { ensureSnapshot, type Refusals } from '../ensure-snapshot.ts';
import { findVolume } from '../find-volume.ts';
import { freezeOf, RESERVED } from '../request/class-parameters.ts';
import { resourceName } from '../request/resource-name.ts';
import { describeSnapshot } from '../snapshots.ts';
import { segmentOfNode, segmentsOf } from '../topology.ts';

/** After all other reasons the caller tries again. */
const REFUSALS: Refusals = {
  SnapshotsUnsupported: Code.FAILED_PRECONDITION,
  PoolFull: Code.RESOURCE_EXHAUSTED,
  VolumeNotFound: Code.NOT_FOUND,
  VolumeDeleting: Code.FAILED_PRECONDITION,
  FreezeUnsupported: Code.FAILED_PRECONDITION,
};

/**
 * CreateSnapshot: creates an AoESnapshot and waits until it is taken. A repeated call finds the AoESnapshot again. While the data is still
 * being copied, the answer says that it is not ready to use.
 * @throws RpcError with a code of {@link REFUSALS} when it never will be taken; what {@link ensureSnapshot} throws while it may be
 */
export async function createSnapshot(deps: Deps, request: csi.v1.ICreateSnapshotRequest, call: Call) {
  const name = resourceName(required(request.name, 'name'));
  const volumeName = required(request.sourceVolumeId, 'source_volume_id');
  const freeze = freezeOf(request.parameters);
  const segments = segmentsOf(request.accessibilityRequirements);
  return deps.busy.run(name, 'CreateSnapshot', async () => {
    const volume = () => volumeIn(deps, volumeName, segments, call);
    const wanted = { name, volumeName, volume, annotations: annotationsOf(request), freeze, mayBeUnfinished: true };
    const { snapshot, refused } = await ensureSnapshot(deps, wanted, REFUSALS, call);
    if (!refused) return { snapshot: describeSnapshot(deps, snapshot) };
    // The caller may forget it now. One that a person made stays.
    const { uid, annotations } = snapshot.metadata;
    if (annotations?.[CREATED_BY] === 'csi') await deps.kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal: call.signal });
    throw refused;
  });
}

/**
 * The volume, when snapshots of it can be used on one of the segments: they are on its node.
 * @param segments none: any will do
 * @throws RpcError NOT_FOUND; RESOURCE_EXHAUSTED when it is on another segment
 */
async function volumeIn(deps: Deps, name: string, segments: readonly string[], call: Call): Promise<AoEVolume> {
  const volume = await findVolume(deps, name, call);
  const { nodeName } = volume.spec;
  if (segments.length === 0 || !nodeName) return volume;
  const segment = await segmentOfNode(deps, nodeName, call);
  if (segments.includes(segment)) return volume;
  throw new RpcError(
    Code.RESOURCE_EXHAUSTED,
    `a snapshot of AoEVolume ${name} can be used only on segment ${segment}, that of its node ${nodeName}, and is asked for on ${segments.join(', ')}`,
  );
}

/** Where the snapshot comes from, for people. */
function annotationsOf({ parameters }: csi.v1.ICreateSnapshotRequest): Record<string, string> {
  const name = parameters?.[`${RESERVED}volumesnapshot/name`];
  const namespace = parameters?.[`${RESERVED}volumesnapshot/namespace`];
  return { [CREATED_BY]: 'csi', ...(name && namespace ? { 'aoe.dev/volume-snapshot': `${namespace}/${name}` } : {}) };
}
