import { formatLimits, hasLimits, isSameLimits, LIMIT_KEYS, limitNumbers } from '../../../api/limits/limits.ts';
import { type AoEVolume, isReportOfPlace, VolumeCondition } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { changeSpec } from '../change-spec.ts';
import type { Call, Deps } from '../deps.ts';
import { conditionOf } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { changedLimits, type NamedLimits, namedLimits, wantedLimits } from '../request/limits.ts';
import { waitFor } from '../wait.ts';

/**
 * ControllerModifyVolume: sets the limits that a VolumeAttributesClass names, and waits until the target enforces them. When it is repeated,
 * it goes on.
 *
 * After INVALID_ARGUMENT csi-resizer says that the class is infeasible, and the claim may go back to the class that it had.
 */
export async function modifyVolume(deps: Deps, request: csi.v1.IControllerModifyVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  const parameters = request.mutableParameters ?? {};
  if (Object.keys(parameters).length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'mutable_parameters is missing');
  const named = namedLimits(parameters);
  return deps.busy.run(name, 'ControllerModifyVolume', async () => {
    const volume = await findVolume(deps, name, call);
    if (volume.spec.external)
      throw new RpcError(Code.INVALID_ARGUMENT, `AoEVolume ${name} is a target that somebody else serves: nothing here could limit it`);
    if (volume.metadata.deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${name} is being deleted`);
    const asked = await changeSpec(deps, volume, (now) => change(now, named), call);
    const done = await waitFor(deps, asked, { what: 'its limits', until: (now) => inForceOrNot(now, named) }, call);
    if (done instanceof RpcError) throw done;
    return {};
  });
}

/** What is to be written: the limits that change, and null for those that go; undefined when the volume has them as the class says. */
function change({ spec }: AoEVolume, named: NamedLimits): object | undefined {
  const [has, wanted] = [limitNumbers(spec.limits), wantedLimits(spec.limits, named)];
  if (isSameLimits(has, wanted)) return undefined;
  if (!hasLimits(wanted)) return { limits: null };
  const written = formatLimits(wanted);
  const changed = LIMIT_KEYS.filter((key) => has[key] !== wanted[key]);
  return { limits: Object.fromEntries(changed.map((key) => [key, written[key] ?? null])) };
}

/** The volume when its target enforces what the class says, an error when the target cannot; undefined while neither is known. */
function inForceOrNot(volume: AoEVolume, named: NamedLimits): AoEVolume | RpcError | undefined {
  const { metadata, status } = volume;
  const exported = isReportOfPlace(volume) ? conditionOf(volume, VolumeCondition.Exported) : undefined;
  if (exported?.status !== 'True') return undefined;
  const inForce = limitNumbers(status?.limits);
  // Alone, a burst is nothing that could be enforced.
  const hasEffect = !named.burstSeconds || hasLimits(inForce);
  if (hasEffect && isSameLimits(inForce, changedLimits(inForce, named))) return volume;
  const isCurrent = (exported.observedGeneration ?? -1) >= (metadata.generation ?? 0);
  if (!isCurrent || exported.reason !== 'LimitsNotEnforced') return undefined;
  return new RpcError(Code.UNAVAILABLE, `AoEVolume ${metadata.name}: ${exported.message}`);
}
