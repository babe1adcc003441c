import { formatAddress, sameAddress } from '../../../api/address.ts';
import { isPlaced } from '../../../api/capacity.ts';
import { type AoENode, NodeCondition } from '../../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES } from '../../../api/resources.ts';
import {
  type AoEVolume,
  awaitedDisk,
  BREAK_LOCK,
  GIVE_UP,
  isCopiedAway,
  MAX_NODES,
  MOVE_TO,
  serialToAttach,
  VolumeCondition,
} from '../../../api/volume.ts';
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
    await checkSegment(deps, volume, node, call);
    checkInitiator(volume, host);
    const allowed = await changeInitiators(
      deps,
      volume,
      (current) => admit(current, node, copyOf(current, deps.volumes.list())),
      call,
    ).catch((error: unknown) => {
      emitRefused(deps, volume, node, error);
      throw error;
    });
    await ensureNotCopied(deps, volume, allowed, node, call);
    const admitted = volume.spec.external
      ? allowed
      : await waitForInitiators(deps, allowed, { wanted: `to admit node ${node}`, isDone: (nodes) => nodes.includes(node) }, call);
    const address = admitted.spec.address ?? admitted.spec.external;
    if (!address) throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name} has no address yet`);
    return {
      publishContext: {
        address: formatAddress(address),
        serial: serialToAttach(admitted) ?? '',
        volumeUID: admitted.metadata.uid ?? '',
        access: admitted.spec.access,
        external: String(admitted.spec.external !== undefined),
        ...(admitted.spec.encryption ? { encryption: admitted.spec.encryption } : {}),
      },
    };
  });
}

/** @throws RpcError FAILED_PRECONDITION when the node cannot reach the volume, because AoE is not routed */
async function checkSegment(deps: Deps, { metadata, spec }: AoEVolume, node: string, call: Call): Promise<void> {
  if (spec.external || !spec.nodeName) return;
  const [from, to] = [await segmentOfNode(deps, spec.nodeName, call), await segmentOfNode(deps, node, call)];
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

/** Name of the AoEVolume into which the disk of an external target is being copied; undefined when it is not. */
function copyOf({ spec: { external } }: AoEVolume, volumes: readonly AoEVolume[]): string | undefined {
  return external && volumes.find((each) => isPlaced(each) && sameAddress(awaitedDisk(each), external))?.metadata.name;
}

/**
 * Looks again once a node was admitted to the disk of an external target: a copy of it may have been placed that the cache did not have. Then
 * the node is taken out again. Not a node that was admitted before: it may be using the disk, which the operator sees, and ends the copy.
 * @throws RpcError FAILED_PRECONDITION when the disk is being copied
 */
async function ensureNotCopied(deps: Deps, before: AoEVolume, allowed: AoEVolume, node: string, call: Call): Promise<void> {
  if (!allowed.spec.external || before.spec.initiators.nodes?.includes(node)) return;
  const { items } = await deps.kube.list<AoEVolume>(AOE_VOLUMES, { signal: call.signal });
  const copy = copyOf(allowed, items);
  if (copy === undefined) return;
  await changeInitiators(deps, allowed, ({ spec }) => (spec.initiators.nodes ?? []).filter((each) => each !== node), call);
  const error = copiedError(allowed, copy);
  emitRefused(deps, allowed, node, error);
  throw error;
}

function copiedError({ metadata: { name } }: AoEVolume, copy: string): RpcError {
  return new RpcError(
    Code.FAILED_PRECONDITION,
    `AoEVolume ${name}: its disk is being copied into AoEVolume ${copy}, and nobody may write to it meanwhile; deleting ${copy} ends that`,
  );
}

/**
 * The nodes that may use the volume once `node` is admitted.
 * @param copy name of an AoEVolume into which its data is being copied: nobody may write to it meanwhile
 * @throws RpcError FAILED_PRECONDITION when somebody else has it, RESOURCE_EXHAUSTED when as many have it as can
 */
function admit(volume: AoEVolume, node: string, copy: string | undefined): string[] {
  const { metadata, spec } = volume;
  if (isCopiedAway(volume)) {
    const { move } = spec;
    throw new RpcError(
      Code.UNAVAILABLE,
      `AoEVolume ${metadata.name} is being moved to pool ${move?.pool} on node ${move?.nodeName}, and can be attached after that; to end the move and leave the volume where it is: kubectl annotate aoev ${metadata.name} ${MOVE_TO}-`,
    );
  }
  const nodes = spec.initiators.nodes ?? [];
  if (nodes.includes(node)) return nodes;
  if (metadata.deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} is being deleted`);
  if (metadata.annotations?.[GIVE_UP] !== undefined)
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} was given up with its storage node (annotation ${GIVE_UP})`);
  if (metadata.annotations?.[MOVE_TO] !== undefined)
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} is to be moved first (annotation ${MOVE_TO})`);
  if (copy !== undefined) throw copiedError(volume, copy);
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
