import { AOE_POOLS } from '../../../api/resources.ts';
import { type AoEVolume, VolumeCondition } from '../../../api/volume.ts';
import { csi } from '../../../rpc/mod.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { conditionOf, isPartlyAdmitted } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { pageOf } from '../request/page.ts';

const { DEGRADED, INACCESSIBLE, DATA_LOSS } = csi.v1.VolumeHealthErrorType;
/** How full a thin pool may be, in percent of its data or metadata. Beyond that its volumes may soon be unable to write. */
const THIN_POOL_FULL_PERCENT = 90;

type Entry = csi.v1.VolumeHealth.IVolumeHealthEntry;

/** ControllerListVolumeHealth: the volumes of which something is wrong, in the order of their names. @throws RpcError ABORTED for a token that is not ours */
export function listVolumeHealth(deps: Deps, request: csi.v1.IControllerListVolumeHealthRequest) {
  const unwell = deps.volumes.list().filter((volume) => problemsOf(deps, volume).length > 0);
  const { page, nextToken } = pageOf(unwell, request);
  return { entries: page.map((volume) => healthOf(deps, volume)), nextToken };
}

/** ControllerGetVolumeHealth: what is wrong with a volume, for all nodes that use it. @throws RpcError NOT_FOUND */
export async function getVolumeHealth(deps: Deps, request: csi.v1.IControllerGetVolumeHealthRequest, call: Call) {
  return { volumeHealth: healthOf(deps, await findVolume(deps, required(request.volumeId, 'volume_id'), call)) };
}

function healthOf(deps: Deps, volume: AoEVolume): csi.v1.IVolumeHealth {
  return { volumeId: volume.metadata.name, healthStatuses: problemsOf(deps, volume) };
}

/** The same reasons and messages that the conditions have. A volume that was never ready is not ill: it is being made. */
function problemsOf({ pools }: Pick<Deps, 'pools'>, volume: AoEVolume): Entry[] {
  const { spec, status, metadata } = volume;
  if (status?.capacity === undefined || metadata.deletionTimestamp) return [];
  const problems: Entry[] = [];
  const provisioned = conditionOf(volume, VolumeCondition.Provisioned);
  const ready = conditionOf(volume, VolumeCondition.Ready);
  const exported = conditionOf(volume, VolumeCondition.Exported);
  if (provisioned?.status === 'False' && provisioned.reason === 'BackingLost') {
    problems.push({ status: DATA_LOSS, reason: provisioned.reason, message: provisioned.message });
  } else if (ready && ready.status !== 'True') {
    problems.push({ status: INACCESSIBLE, reason: ready.reason, message: ready.message });
  }
  if (exported && isPartlyAdmitted(exported)) problems.push({ status: DEGRADED, reason: exported.reason, message: exported.message });
  const node = pools.get(spec.pool ?? '')?.status?.nodes?.find(({ name }) => name === spec.nodeName);
  const percent = Math.max(Number(node?.dataPercent ?? 0), Number(node?.metadataPercent ?? 0));
  if (percent >= THIN_POOL_FULL_PERCENT) {
    const message = `the thin pool of ${AOE_POOLS.kind} ${spec.pool} on node ${spec.nodeName} is ${percent} % full: when it is full, writes fail. Extend it`;
    problems.push({ status: DEGRADED, reason: 'PoolNearlyFull', message });
  }
  return problems;
}
