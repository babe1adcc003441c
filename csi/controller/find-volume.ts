import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';
import { isResourceName } from './request/resource-name.ts';

/**
 * The volume as the API server has it now.
 * @throws RpcError NOT_FOUND
 */
export async function findVolume(deps: Pick<Deps, 'kube'>, name: string, { signal }: Call): Promise<AoEVolume> {
  const volume = isResourceName(name) ? await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal }) : undefined;
  if (!volume) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${name}`);
  return volume;
}
