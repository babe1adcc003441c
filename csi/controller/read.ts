import { available } from '../../api/capacity.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { type csi, int64 } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { required } from '../required.ts';
import { mismatch, unsupported } from './capabilities.ts';
import type { Call, Deps } from './deps.ts';
import { segmentOf } from './request.ts';
import { capacityOf, isResourceName, mustFind, readiness, segmentOfNode, topologyOf } from './volumes.ts';

/** Whether a volume gives what is asked, and why not. */
export async function validateCapabilities(deps: Deps, request: csi.v1.IValidateVolumeCapabilitiesRequest, call: Call) {
  const name = required(request.volumeId, 'volume_id');
  const { volumeCapabilities } = request;
  if (!volumeCapabilities || volumeCapabilities.length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capabilities is missing');
  const { spec } = await mustFind(deps, name, call);
  for (const capability of volumeCapabilities) {
    const problem = mismatch(spec.access, capability);
    if (problem) return { message: `AoEVolume ${name}: ${problem}` };
  }
  const { volumeContext, parameters } = request;
  return { confirmed: { volumeCapabilities, ...(volumeContext ? { volumeContext } : {}), ...(parameters ? { parameters } : {}) } };
}

/** A page's token: the name after which it begins, so that it stays good when that volume is deleted. */
const TOKEN = 'after/';

/** All AoEVolumes in the order of their names. @throws RpcError ABORTED for a token that is not ours */
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

/** One volume with its nodes and its condition. @throws RpcError NOT_FOUND */
export async function getVolume(deps: Deps, request: csi.v1.IControllerGetVolumeRequest, call: Call) {
  return entryOf(deps, await mustFind(deps, required(request.volumeId, 'volume_id'), call));
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
      volumeCondition: { abnormal: volume.status?.phase !== 'Ready', message: readiness(volume) },
    },
  };
}

/** What is free for new volumes of a pool, in all and at most for one, on the nodes of a segment. */
export function getCapacity(deps: Deps, request: csi.v1.IGetCapacityRequest) {
  const problem = (request.volumeCapabilities ?? []).map(unsupported).find((each) => each !== undefined);
  const pool = deps.pools.get(request.parameters?.pool ?? 'default');
  const segment = segmentOf(request.accessibleTopology);
  const volumes = deps.volumes.list();
  const free = (problem ? [] : (pool?.status?.nodes ?? [])).flatMap((entry) => {
    const node = deps.nodes.get(entry.name);
    if (!pool || !node || node.spec?.maintenance) return [];
    if (segment !== undefined && segmentOfNode(deps, entry.name) !== segment) return [];
    // Sizes are rounded up: what is left of a grain holds no volume.
    const grain = Math.max(1, parseQuantity(entry.granularity ?? '1'));
    return [Math.floor(available(pool, entry, volumes) / grain) * grain];
  });
  const sum = free.reduce((bytes, each) => bytes + each, 0);
  return { availableCapacity: int64(sum), maximumVolumeSize: { value: int64(Math.max(0, ...free)) } };
}
