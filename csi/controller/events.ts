import { type KubeNode, notReady } from '../../api/kube-node.ts';
import { NODES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';

const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

/** Emits an event when a node was refused for a reason that only a person or the present user can end. */
export function emitRefused({ events }: Deps, volume: AoEVolume, node: string, error: unknown): void {
  if (!(error instanceof RpcError) || (error.code !== Code.FAILED_PRECONDITION && error.code !== Code.RESOURCE_EXHAUSTED)) return;
  events.event(volume, 'Warning', 'PublishRefused', `node ${node} is not admitted: ${error.message}`);
}

/**
 * Emits an event when a node that loses the volume has the lock, so that it has not unmounted it. The message has the state of the node.
 * It never rejects.
 */
export async function emitDetached(deps: Deps, volume: AoEVolume, node: string, { signal }: Call): Promise<void> {
  const holder = volume.status?.holder;
  if (!holder?.node || (node !== '' && holder.node !== node) || !(volume.spec.initiators.nodes ?? []).includes(holder.node)) return;
  const why = await deps.kube.get<KubeNode>(NODES, holder.node, { signal }).then(stateOf, () => 'the state of the node is unknown');
  const message = `detached from node ${holder.node}, which has the lock since ${holder.since} and has not unmounted the volume: ${why}`;
  deps.events.event(volume, 'Warning', 'DetachedInUse', message);
}

function stateOf(node: KubeNode | undefined): string {
  if (!node) return 'the Node does not exist any more';
  const taint = node.spec?.taints?.find(({ key }) => key === OUT_OF_SERVICE);
  if (taint) return `the node is out of service (taint ${taint.key}${taint.value ? `=${taint.value}` : ''})`;
  return notReady(node) ?? 'the node is Ready; its VolumeAttachment was deleted by force';
}
