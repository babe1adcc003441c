import type { AoEVolume } from '../../../api/volume.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { describeReadiness } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { pageOf } from '../request/page.ts';
import { capacityOf } from '../request/size.ts';
import { topologyOf } from '../topology.ts';

/** ListVolumes: the AoEVolumes in the order of their names. @throws RpcError ABORTED for a token that is not ours */
export function listVolumes(deps: Deps, request: csi.v1.IListVolumesRequest) {
  const { page, nextToken } = pageOf(deps.volumes.list(), request);
  return { entries: page.map((volume) => entryOf(deps, volume)), nextToken };
}

/** ControllerGetVolume: a volume with its nodes and its condition. @throws RpcError NOT_FOUND */
export async function getVolume(deps: Deps, request: csi.v1.IControllerGetVolumeRequest, call: Call) {
  return entryOf(deps, await findVolume(deps, required(request.volumeId, 'volume_id'), call));
}

function entryOf(deps: Deps, volume: AoEVolume) {
  return {
    volume: {
      volumeId: volume.metadata.name,
      capacityBytes: int64(capacityOf(volume)),
      accessibleTopology: topologyOf(deps, volume.spec.nodeName),
    },
    status: {
      publishedNodeIds: volume.spec.initiators.nodes ?? [],
      volumeCondition: { abnormal: volume.status?.phase !== 'Ready', message: describeReadiness(volume) },
    },
  };
}
