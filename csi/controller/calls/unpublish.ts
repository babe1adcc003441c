import { isPlaced } from '../../../api/capacity.ts';
import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { emitDetached } from '../events.ts';
import { changeInitiators, waitForInitiators } from '../initiators.ts';
import { isResourceName } from '../request/resource-name.ts';

/**
 * ControllerUnpublishVolume: cuts off a node, or all nodes when none is named. When it returns, the target has confirmed that they can
 * neither read nor write.
 */
export async function unpublishVolume(deps: Deps, request: csi.v1.IControllerUnpublishVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  const node = request.nodeId ?? '';
  if (!isResourceName(name)) return {};
  return deps.busy.run(name, 'ControllerUnpublishVolume', async () => {
    const volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: call.signal });
    if (!volume) return {};
    // At the same time: to find out the cause must not delay the next node.
    const emitted = emitDetached(deps, volume, node, call);
    try {
      await cutOff(deps, volume, node, call);
    } catch (error) {
      // The volume was deleted meanwhile: its export was removed before, so no host is admitted any more.
      const isGone = error instanceof RpcError && (error.code === Code.NOT_FOUND || error.code === Code.ABORTED);
      if (!isGone || (await exists(deps, volume, call))) throw error;
    }
    await emitted;
    return {};
  });
}

/** Removes a node from the list, or all, and waits until the target has confirmed it. */
async function cutOff(deps: Deps, volume: AoEVolume, node: string, call: Call): Promise<void> {
  const without = (nodes: readonly string[]) => (node === '' ? [] : nodes.filter((each) => each !== node));
  const left = await changeInitiators(deps, volume, ({ spec }) => without(spec.initiators.nodes ?? []), call);
  // Before a volume is placed nobody serves it, and external targets are not managed by the cluster.
  if (!isPlaced(left)) return;
  const isDone = (nodes: readonly string[]) => without(nodes).length === nodes.length;
  await waitForInitiators(deps, left, { wanted: `to cut off ${node === '' ? 'all nodes' : `node ${node}`}`, isDone }, call);
}

/** Whether exactly this volume still exists, as the API server has it now. */
async function exists(deps: Deps, { metadata: { name, uid } }: AoEVolume, { signal }: Call): Promise<boolean> {
  const now = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
  return now?.metadata.uid === uid;
}
