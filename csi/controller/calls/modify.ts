import { isSameLimits, LIMIT_KEYS, type Limits, limitNumbers } from '../../../api/limits/limits.ts';
import { type AoEVolume, isReportOfPlace, VolumeCondition } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { changeSpec } from '../change-spec.ts';
import type { Call, Deps } from '../deps.ts';
import { conditionOf } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { limitsOf } from '../request/limits.ts';
import { waitFor } from '../wait.ts';

/**
 * ControllerModifyVolume: sets spec.limits to what a VolumeAttributesClass says, and waits until the target enforces it. When it is repeated,
 * it goes on.
 *
 * After INVALID_ARGUMENT csi-resizer says that the class is infeasible, and the claim may go back to the class that it had.
 */
export async function modifyVolume(deps: Deps, request: csi.v1.IControllerModifyVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  const parameters = request.mutableParameters ?? {};
  if (Object.keys(parameters).length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'mutable_parameters is missing');
  const limits = limitsOf(parameters);
  return deps.busy.run(name, 'ControllerModifyVolume', async () => {
    const volume = await findVolume(deps, name, call);
    if (volume.spec.external)
      throw new RpcError(Code.INVALID_ARGUMENT, `AoEVolume ${name} is a target that somebody else serves: nothing here could limit it`);
    if (volume.metadata.deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${name} is being deleted`);
    const asked = await changeSpec(deps, volume, (now) => change(now, limits), call);
    const done = await waitFor(deps, asked, { what: 'its limits', until: (now) => inForceOrNot(now, limits) }, call);
    if (done instanceof RpcError) throw done;
    return {};
  });
}

/** What is to be written; undefined when the volume has these limits. Keys that are there would stay if they were not removed. */
function change({ spec }: AoEVolume, limits: Limits): object | undefined {
  if (isSameLimits(limitNumbers(spec.limits), limitNumbers(limits))) return undefined;
  if (Object.keys(limits).length === 0) return { limits: null };
  return { limits: Object.fromEntries(LIMIT_KEYS.map((key) => [key, limits[key] ?? null])) };
}

/** The volume when its target enforces the limits, an error when the target cannot; undefined while neither is known. */
function inForceOrNot(volume: AoEVolume, limits: Limits): AoEVolume | RpcError | undefined {
  const { metadata, status } = volume;
  const exported = isReportOfPlace(volume) ? conditionOf(volume, VolumeCondition.Exported) : undefined;
  if (exported?.status !== 'True') return undefined;
  if (isSameLimits(limitNumbers(status?.limits), limitNumbers(limits))) return volume;
  const isCurrent = (exported.observedGeneration ?? -1) >= (metadata.generation ?? 0);
  if (!isCurrent || exported.reason !== 'LimitsNotEnforced') return undefined;
  return new RpcError(Code.UNAVAILABLE, `AoEVolume ${metadata.name}: ${exported.message}`);
}
