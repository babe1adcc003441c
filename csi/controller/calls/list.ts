import type { AoEVolume } from '../../../api/volume.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { describeReadiness } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { isResourceName } from '../resource-name.ts';
import { capacityOf } from '../size.ts';
import { topologyOf } from '../topology.ts';

/** A token is this word and the name after which its page begins: it stays valid when that volume is deleted. */
const TOKEN = 'after/';

/** ListVolumes: the AoEVolumes in the order of their names. @throws RpcError ABORTED for a token that is not ours */
export function listVolumes(deps: Deps, request: csi.v1.IListVolumesRequest) {
  const most = request.maxEntries ?? 0;
  if (most < 0) throw new RpcError(Code.INVALID_ARGUMENT, 'max_entries is negative');
  const token = request.startingToken ?? '';
  const after = token.slice(TOKEN.length);
  if (token !== '' && (!token.startsWith(TOKEN) || !isResourceName(after)))
    throw new RpcError(Code.ABORTED, `starting_token "${token}" is not one of ours: list again from the start`);
  const rest = deps.volumes
    .list()
    .filter(({ metadata }) => metadata.name > after)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const page = most > 0 ? rest.slice(0, most) : rest;
  const last = page.length < rest.length ? page.at(-1) : undefined;
  return { entries: page.map((volume) => entryOf(deps, volume)), nextToken: last ? `${TOKEN}${last.metadata.name}` : '' };
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
      accessibleTopology: topologyOf(deps, volume),
    },
    status: {
      publishedNodeIds: volume.spec.initiators.nodes ?? [],
      volumeCondition: { abnormal: volume.status?.phase !== 'Ready', message: describeReadiness(volume) },
    },
  };
}
