import { AOE_VOLUMES } from '../../../api/resources.ts';
import { type AoEVolume, DELETE_DATA } from '../../../api/volume.ts';
import { isNotFound, TimeoutError } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { type Call, type Deps, FIELD_MANAGER } from '../deps.ts';
import { describeReadiness, describeUser } from '../describe.ts';
import { isResourceName } from '../request/resource-name.ts';
import { timeLeft, waitUntilGone } from '../wait.ts';

/** After a detach it takes the agent a moment to report that the lock is cleared. */
const LOCK_MS = 3_000;

/** DeleteVolume: deletes an AoEVolume and waits until it is gone. A volume that is in use is not deleted. */
export async function deleteVolume(deps: Deps, request: csi.v1.IDeleteVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  // No AoEVolume can have such a name.
  if (!isResourceName(name)) return {};
  return deps.busy.run(name, 'DeleteVolume', async () => {
    const { signal } = call;
    let volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
    if (volume && isOnlyLocked(volume)) volume = await waitUntilUnlocked(deps, volume, call);
    if (!volume) return {};
    const user = describeUser(volume);
    if (user) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${name} is in use by ${user}: it is not deleted`);
    const { uid } = volume.metadata;
    if (!(await askForRemoval(deps, volume, call))) return {};
    await deps.kube.delete(AOE_VOLUMES, name, { ...(uid ? { uid } : {}), signal });
    await waitUntilRemoved(deps, volume, call);
    return {};
  });
}

/**
 * Asks the agent to remove the data, too: without that it keeps the data while a PersistentVolume names the volume, as one does now.
 * @returns whether the volume still exists
 */
async function askForRemoval(deps: Deps, { metadata: { name, uid, annotations }, spec }: AoEVolume, { signal }: Call): Promise<boolean> {
  if (spec.external || uid === undefined || annotations?.[DELETE_DATA] === uid) return true;
  try {
    // With the UID: a namesake that was made meanwhile is not marked (409).
    const patch = { metadata: { uid, annotations: { [DELETE_DATA]: uid } } };
    await deps.kube.patch(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
    return true;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return false;
  }
}

/** Whether no host may use the volume, but a node still has the lock: the agent is about to clear it. */
function isOnlyLocked({ spec, status }: AoEVolume): boolean {
  const { nodes = [], macs = [] } = spec.initiators;
  return !spec.external && nodes.length + macs.length === 0 && status?.holder?.node !== undefined;
}

async function waitUntilUnlocked(deps: Deps, volume: AoEVolume, call: Call): Promise<AoEVolume | undefined> {
  const { name, uid } = volume.metadata;
  const timeoutMs = Math.min(LOCK_MS, timeLeft(call));
  try {
    await deps.volumes.waitFor(name, (now) => now?.metadata.uid === uid && !now?.status?.holder, { signal: call.signal, timeoutMs });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
  return deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: call.signal });
}

async function waitUntilRemoved(deps: Deps, volume: AoEVolume, call: Call): Promise<void> {
  const { name } = volume.metadata;
  try {
    await waitUntilGone({ kube: deps.kube, store: deps.volumes, type: AOE_VOLUMES }, volume, call);
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    throw new RpcError(
      Code.DEADLINE_EXCEEDED,
      `AoEVolume ${name} is marked for deletion, and the agent on ${volume.spec.nodeName} has not removed it yet: ${describeReadiness(deps.volumes.get(name) ?? volume)}`,
    );
  }
}
