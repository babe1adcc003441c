import type { AoEVolume } from '../../../api/volume.ts';
import { isInvalid, isNotFound, KubeError, messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Deps } from '../deps.ts';

/**
 * Takes this node out of status.holder of an AoEVolume of an external target, whose lock it has released: no agent watches such a target.
 * Another holder stays. What the API server refuses for good is logged only: to ask again would not help.
 * @throws RpcError when the API server cannot be reached, or is busy: then it is to be done again, as nobody else does it
 */
export async function forgetHolder(
  { nodeName, volumes, log }: Pick<Deps, 'nodeName' | 'volumes' | 'log'>,
  volumeId: string,
  signal: AbortSignal,
): Promise<void> {
  const isHolder = ({ status }: AoEVolume): boolean => status?.holder?.node === nodeName;
  const volume = await volumes.get(volumeId, signal);
  if (!volume || !isHolder(volume)) return;
  try {
    await volumes.record(volume, { holder: null }, signal, isHolder);
  } catch (error) {
    // The volume is gone, or another node has taken the lock meanwhile.
    if (error instanceof RpcError && error.code === Code.ABORTED) return;
    if (!isRefusal(error)) throw error;
    log.warn({ volume: volumeId, error: messageOf(error) }, 'holder not removed from the status');
  }
}

/** Whether the API server has understood a write and refused it: by its rights (403), a policy (422), or since the object is gone. */
function isRefusal(error: unknown): boolean {
  const { cause } = error instanceof RpcError ? error : {};
  return isInvalid(cause) || isNotFound(cause) || (cause instanceof KubeError && cause.code === 403);
}
