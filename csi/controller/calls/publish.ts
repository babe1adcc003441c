import { formatAddress } from '../../../api/address.ts';
import { type AoENode, NodeCondition } from '../../../api/node.ts';
import { AOE_NODES } from '../../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK, GIVE_UP, MAX_NODES, serialOf, VolumeCondition } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { conditionOf, describeUser } from '../describe.ts';
import { emitRefused } from '../events.ts';
import { findVolume } from '../find-volume.ts';
import { changeInitiators, waitForInitiators } from '../initiators.ts';
import { mismatch } from '../request/capabilities.ts';
import { segmentOfNode } from '../topology.ts';

/**
 * ControllerPublishVolume: admits a node to the volume, and no other host if it is Exclusive. When it returns, the target has confirmed
 * it: no other host can write, whatever happened to the previous holder.
 */
export async function publishVolume(deps: Deps, request: csi.v1.IControllerPublishVolumeRequest, call: Call) {
  const name = required(request.volumeId, 'volume_id');
  const node = required(request.nodeId, 'node_id');
  const { volumeCapability: capability } = request;
  if (!capability) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability is missing');
  return deps.busy.run(name, 'ControllerPublishVolume', async () => {
    const volume = await findVolume(deps, name, call);
    const host = deps.nodes.get(node) ?? (await deps.kube.get<AoENode>(AOE_NODES, node, { signal: call.signal }));
    if (!host) throw new RpcError(Code.NOT_FOUND, `node ${node} has no AoENode: does the node plugin run there?`);
    const problem = request.readonly
      ? 'readonly is not supported, because the target does not distinguish readers from writers'
      : mismatch(volume.spec.access, capability);
    if (problem) {
      const isPublished = (volume.spec.initiators.nodes ?? []).includes(node);
      throw new RpcError(isPublished ? Code.ALREADY_EXISTS : Code.INVALID_ARGUMENT, `AoEVolume ${name}: ${problem}`);
    }
    checkSegment(deps, volume, node);
    checkInitiator(volume, host);
    const allowed = await changeInitiators(deps, volume, (current) => admit(current, node), call).catch((error: unknown) => {
      emitRefused(deps, volume, node, error);
      throw error;
    });
    const admitted = volume.spec.external
      ? allowed
      : await waitForInitiators(deps, allowed, { wanted: `to admit node ${node}`, isDone: (nodes) => nodes.includes(node) }, call);
    const address = admitted.spec.address ?? admitted.spec.external;
    if (!address) throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name} has no address yet`);
    return {
      publishContext: {
        address: formatAddress(address),
        serial: serialOf(admitted) ?? '',
        volumeUID: admitted.metadata.uid ?? '',
        access: admitted.spec.access,
        external: String(admitted.spec.external !== undefined),
      },
    };
  });
}

/** @throws RpcError FAILED_PRECONDITION when the node cannot reach the volume, because AoE is not routed */
function checkSegment(deps: Deps, { metadata, spec }: AoEVolume, node: string): void {
  if (spec.external || !spec.nodeName) return;
  const [from, to] = [segmentOfNode(deps, spec.nodeName), segmentOfNode(deps, node)];
  if (from === to) return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `AoEVolume ${metadata.name} is on segment ${from} (node ${spec.nodeName}), and node ${node} is on segment ${to}, from where it cannot be reached`,
  );
}

/**
 * A node without driver or interface is refused before it gets the volume, so that another node can have it.
 * @throws RpcError FAILED_PRECONDITION when the node reports that it cannot mount volumes
 */
function checkInitiator({ metadata, spec }: AoEVolume, { metadata: { name }, status }: AoENode): void {
  if (spec.initiators.nodes?.includes(name)) return;
  const ready = status?.conditions?.find(({ type }) => type === NodeCondition.InitiatorReady);
  if (ready?.status !== 'False') return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `AoEVolume ${metadata.name} is not attached to node ${name}, which cannot mount volumes: ${ready.message} (condition InitiatorReady of AoENode ${name})`,
  );
}

/**
 * The nodes that may use the volume once `node` is admitted.
 * @throws RpcError FAILED_PRECONDITION when somebody else has it, RESOURCE_EXHAUSTED when as many have it as can
 */
function admit(volume: AoEVolume, node: string): string[] {
  const { metadata, spec } = volume;
  const nodes = spec.initiators.nodes ?? [];
  if (nodes.includes(node)) return nodes;
  if (metadata.deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} is being deleted`);
  if (metadata.annotations?.[GIVE_UP] !== undefined)
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} was given up with its storage node (annotation ${GIVE_UP})`);
  const conflict = conditionOf(volume, VolumeCondition.AddressConflict);
  if (conflict?.status === 'True') throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${metadata.name}: ${conflict.message}`);
  const placed = conditionOf(volume, VolumeCondition.Placed);
  if (spec.external && placed?.status === 'False')
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name}: ${placed.message}`);
  if (spec.access !== 'Exclusive') {
    if (nodes.length < MAX_NODES) return [...nodes, node];
    throw new RpcError(
      Code.RESOURCE_EXHAUSTED,
      `AoEVolume ${metadata.name} is attached to ${nodes.length} nodes, and cannot be attached to more at once: node ${node} must wait until it is detached from one of them`,
    );
  }
  if (nodes.length > 0) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is held by ${describeUser(volume)}: it is Exclusive, and node ${node} must wait until it is detached there`,
    );
  }
  const macs = spec.initiators.macs ?? [];
  if (macs.length > 0) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is given to ${macs.join(', ')} by spec.initiators.macs: it is Exclusive, so remove them there first`,
    );
  }
  // The agent clears the lock of a node that is cut off. A lock of anybody else stays until its holder, or a person, removes it.
  const { holder } = volume.status ?? {};
  if (holder && !holder.node && !spec.external) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is locked by ${describeUser(volume)}: it is Exclusive, and node ${node} must wait until that lock is released, or broken with the annotation ${BREAK_LOCK}`,
    );
  }
  return [node];
}
