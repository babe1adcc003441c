import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { findVolume } from '../find-volume.ts';
import { mismatch } from '../request/capabilities.ts';

/** ValidateVolumeCapabilities: whether a volume has the capabilities, and if not, why. */
export async function validateCapabilities(deps: Deps, request: csi.v1.IValidateVolumeCapabilitiesRequest, call: Call) {
  const name = required(request.volumeId, 'volume_id');
  const { volumeCapabilities } = request;
  if (!volumeCapabilities || volumeCapabilities.length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capabilities is missing');
  const { spec } = await findVolume(deps, name, call);
  for (const capability of volumeCapabilities) {
    const problem = mismatch(spec.access, capability);
    if (problem) return { message: `AoEVolume ${name}: ${problem}` };
  }
  const { volumeContext, parameters } = request;
  return { confirmed: { volumeCapabilities, ...(volumeContext ? { volumeContext } : {}), ...(parameters ? { parameters } : {}) } };
}
