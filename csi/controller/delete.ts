import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { TimeoutError } from '../../kube/mod.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { required } from '../required.ts';
import type { Call, Deps } from './deps.ts';
import { holderOf, isResourceName, readiness } from './volumes.ts';
import { timeLeft } from './wait.ts';

/** After a detach it takes the agent a moment to tell that the lock is gone. */
const LOCK_MS = 3_000;

/** Deletes an AoEVolume and waits until it is gone. One that is in use stays. */
export async function deleteVolume(deps: Deps, request: csi.v1.IDeleteVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  // No volume of ours has such a name.
  if (!isResourceName(name)) return {};
  return deps.busy.run(name, 'DeleteVolume', async () => {
    const { signal } = call;
    let volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
    if (volume && isOnlyLocked(volume)) volume = await unlocked(deps, volume, call);
    if (!volume) return {};
    const holder = holderOf(volume);
    if (holder) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${name} is in use by ${holder}: it is not deleted`);
    const { uid } = volume.metadata;
    await deps.kube.delete(AOE_VOLUMES, name, { ...(uid ? { uid } : {}), signal });
    await gone(deps, volume, call);
    return {};
  });
}

/** Nobody is let in, yet there is a lock of a node: it is about to be cleared. */
function isOnlyLocked({ spec, status }: AoEVolume): boolean {
  const { nodes = [], macs = [] } = spec.initiators;
  return !spec.external && nodes.length + macs.length === 0 && status?.holder?.node !== undefined;
}

async function unlocked(deps: Deps, volume: AoEVolume, call: Call): Promise<AoEVolume | undefined> {
  const { name, uid } = volume.metadata;
  const timeoutMs = Math.min(LOCK_MS, timeLeft(call));
  try {
    await deps.volumes.waitFor(name, (now) => now?.metadata.uid === uid && !now?.status?.holder, { signal: call.signal, timeoutMs });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
  return deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: call.signal });
}

async function gone(deps: Deps, volume: AoEVolume, call: Call): Promise<void> {
  const { name, uid } = volume.metadata;
  try {
    await deps.volumes.waitFor(name, (now) => now?.metadata.uid !== uid, { signal: call.signal, timeoutMs: timeLeft(call) });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    throw new RpcError(
      Code.DEADLINE_EXCEEDED,
      `AoEVolume ${name} is marked for deletion, and the agent on ${volume.spec.nodeName} has not removed it yet: ${readiness(deps.volumes.get(name) ?? volume)}`,
    );
  }
}
