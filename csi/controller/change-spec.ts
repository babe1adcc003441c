import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { isConflict, retryOnConflict } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { type Call, type Deps, FIELD_MANAGER } from './deps.ts';
import { findVolume } from './find-volume.ts';

/**
 * Changes the volume's spec. When the volume has changed since it was read, it is read and decided on again.
 * @param decide gives the fields of the spec to write, as a merge patch; undefined when nothing is to be written
 * @throws RpcError NOT_FOUND when the volume was deleted, ABORTED when others keep changing it; and what `decide` throws
 */
export async function changeSpec(
  deps: Deps,
  first: AoEVolume,
  decide: (volume: AoEVolume) => object | undefined,
  call: Call,
): Promise<AoEVolume> {
  const { signal } = call;
  const { name } = first.metadata;
  const write = async (volume: AoEVolume): Promise<AoEVolume> => {
    const spec = decide(volume);
    if (!spec) return volume;
    const { resourceVersion } = volume.metadata;
    return deps.kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata: { resourceVersion }, spec }, { fieldManager: FIELD_MANAGER, signal });
  };
  try {
    const written = await retryOnConflict(first, { write, read: () => findVolume(deps, name, call), signal });
    if (written) return written;
  } catch (error) {
    if (!isConflict(error)) throw error;
    throw new RpcError(Code.ABORTED, `AoEVolume ${name} was changed by others at each attempt to write it: try again`);
  }
  throw new RpcError(Code.NOT_FOUND, `AoEVolume ${name} was deleted meanwhile`);
}
