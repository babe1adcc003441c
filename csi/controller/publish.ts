import { isPlaced } from '../../api/capacity.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK, VolumeCondition } from '../../api/volume.ts';
import { isConflict, retryOnConflict } from '../../kube/mod.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { required } from '../required.ts';
import { mismatch } from './capabilities.ts';
import { type Call, type Deps, FIELD_MANAGER } from './deps.ts';
import { tellDetached, tellRefused } from './events.ts';
import { addressOf, holderOf, isResourceName, mustFind, segmentOfNode } from './volumes.ts';
import { waitFor } from './wait.ts';

/**
 * Lets a node talk to the volume's target, and nobody else if it is Exclusive. When it returns the target has confirmed it:
 * no other host can write, whatever became of the previous holder.
 */
export async function publishVolume(deps: Deps, request: csi.v1.IControllerPublishVolumeRequest, call: Call) {
  const name = required(request.volumeId, 'volume_id');
  const node = required(request.nodeId, 'node_id');
  const { volumeCapability: capability } = request;
  if (!capability) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability is missing');
  return deps.busy.run(name, 'ControllerPublishVolume', async () => {
    const volume = await mustFind(deps, name, call);
    const host = deps.nodes.get(node) ?? (await deps.kube.get<AoENode>(AOE_NODES, node, { signal: call.signal }));
    if (!host) throw new RpcError(Code.NOT_FOUND, `node ${node} has no AoENode: does the node plugin run there?`);
    const problem = request.readonly ? 'readonly: the target does not tell readers from writers' : mismatch(volume.spec.access, capability);
    if (problem) {
      const isPublished = (volume.spec.initiators.nodes ?? []).includes(node);
      throw new RpcError(isPublished ? Code.ALREADY_EXISTS : Code.INVALID_ARGUMENT, `AoEVolume ${name}: ${problem}`);
    }
    checkSegment(deps, volume, node);
    const allowed = await change(deps, volume, (current) => admit(current, node), call).catch((error: unknown) => {
      tellRefused(deps, volume, node, error);
      throw error;
    });
    const inForce = volume.spec.external
      ? allowed
      : await confirmed(deps, allowed, `node ${node} to be let in`, (nodes) => nodes.includes(node), call);
    const address = addressOf(inForce);
    if (!address) throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name} has no address yet`);
    return {
      publishContext: {
        address,
        serial: inForce.spec.external?.serial ?? inForce.status?.serial ?? '',
        volumeUID: inForce.metadata.uid ?? '',
        access: inForce.spec.access,
        external: String(inForce.spec.external !== undefined),
      },
    };
  });
}

/** Takes the right from a node, or from all. When it returns the target has confirmed that they cannot read or write. */
export async function unpublishVolume(deps: Deps, request: csi.v1.IControllerUnpublishVolumeRequest, call: Call): Promise<object> {
  const name = required(request.volumeId, 'volume_id');
  const node = request.nodeId ?? '';
  if (!isResourceName(name)) return {};
  return deps.busy.run(name, 'ControllerUnpublishVolume', async () => {
    const volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: call.signal });
    if (!volume) return {};
    // Beside it: finding out why must not delay the successor.
    const told = tellDetached(deps, volume, node, call);
    try {
      await shutOut(deps, volume, node, call);
    } catch (error) {
      // Deleted meanwhile: nobody is served any more, and its export went before it did.
      const isGone = error instanceof RpcError && (error.code === Code.NOT_FOUND || error.code === Code.ABORTED);
      if (!isGone || (await isThere(deps, volume, call))) throw error;
    }
    await told;
    return {};
  });
}

/** Takes a node from the list, or all, and waits until the target has confirmed it. */
async function shutOut(deps: Deps, volume: AoEVolume, node: string, call: Call): Promise<void> {
  const without = (nodes: readonly string[]) => (node === '' ? [] : nodes.filter((each) => each !== node));
  const left = await change(deps, volume, ({ spec }) => without(spec.initiators.nodes ?? []), call);
  // Nobody serves it before it is placed, and others' targets take no orders.
  if (!isPlaced(left)) return;
  const gone = (nodes: readonly string[]) => without(nodes).length === nodes.length;
  await confirmed(deps, left, `${node === '' ? 'all nodes' : `node ${node}`} to be shut out`, gone, call);
}

/** Whether exactly this volume still exists, as the API server has it now. */
async function isThere(deps: Deps, { metadata: { name, uid } }: AoEVolume, { signal }: Call): Promise<boolean> {
  const now = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
  return now?.metadata.uid === uid;
}

/** @throws RpcError FAILED_PRECONDITION when the node cannot reach the volume: AoE is not routed */
function checkSegment(deps: Deps, { metadata, spec }: AoEVolume, node: string): void {
  if (spec.external || !spec.nodeName) return;
  const [its, nodes] = [segmentOfNode(deps, spec.nodeName), segmentOfNode(deps, node)];
  if (its === nodes) return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `AoEVolume ${metadata.name} is on segment ${its} (node ${spec.nodeName}), and node ${node} is on segment ${nodes}: it cannot be reached from there`,
  );
}

/** The nodes that may use the volume once `node` may. @throws RpcError FAILED_PRECONDITION when somebody else has it */
function admit(volume: AoEVolume, node: string): string[] {
  const { metadata, spec } = volume;
  const nodes = spec.initiators.nodes ?? [];
  if (nodes.includes(node)) return nodes;
  if (metadata.deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name} is being deleted`);
  const conflict = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.AddressConflict);
  if (conflict?.status === 'True') throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${metadata.name}: ${conflict.message}`);
  const placed = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Placed);
  if (spec.external && placed?.status === 'False')
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${metadata.name}: ${placed.message}`);
  if (spec.access !== 'Exclusive') return [...nodes, node];
  if (nodes.length > 0) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is held by ${holderOf(volume)}: it is Exclusive, and node ${node} must wait until it is detached there`,
    );
  }
  const macs = spec.initiators.macs ?? [];
  if (macs.length > 0) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is given to ${macs.join(', ')} by spec.initiators.macs: it is Exclusive, take them out first`,
    );
  }
  // Ours are cleared by the agent once their node is shut out; anybody else's stays until he, or a person, takes it away.
  const { holder } = volume.status ?? {};
  if (holder && !holder.node && !spec.external) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${metadata.name} is locked by ${holderOf(volume)}: it is Exclusive, and node ${node} must wait until that lock is given back, or broken by annotation ${BREAK_LOCK}`,
    );
  }
  return [node];
}

/** Writes the list of nodes on the version that it was decided on; decides again when the object has changed. */
async function change(deps: Deps, first: AoEVolume, decide: (volume: AoEVolume) => string[], call: Call): Promise<AoEVolume> {
  const { signal } = call;
  const { name } = first.metadata;
  const write = async (volume: AoEVolume): Promise<AoEVolume> => {
    const before = volume.spec.initiators.nodes ?? [];
    const nodes = decide(volume);
    if (nodes.length === before.length && nodes.every((node, i) => node === before[i])) return volume;
    const { resourceVersion } = volume.metadata;
    const patch = { metadata: { resourceVersion }, spec: { initiators: { nodes: nodes.length > 0 ? nodes : null } } };
    return deps.kube.patch<AoEVolume>(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
  };
  try {
    const written = await retryOnConflict(first, { write, read: () => mustFind(deps, name, call), signal });
    if (written) return written;
  } catch (error) {
    if (!isConflict(error)) throw error;
    throw new RpcError(Code.ABORTED, `AoEVolume ${name} was changed by others at each attempt to write it: try again`);
  }
  throw new RpcError(Code.NOT_FOUND, `AoEVolume ${name} was deleted meanwhile`);
}

/** Reasons of the agent's condition Exported with which the target does not know the volume, so that nobody is let in. */
const UNSERVED = new Set(['NotProvisioned', 'NoAddress', 'SegmentNotAsked', 'AddressConflict']);

/** Whether the agent has seen this generation and says that nobody is served: a volume in trouble must not hold up a detach. */
function isUnserved({ status }: AoEVolume, generation: number): boolean {
  const exported = status?.conditions?.find(({ type }) => type === VolumeCondition.Exported);
  return exported?.status === 'False' && UNSERVED.has(exported.reason) && (exported.observedGeneration ?? -1) >= generation;
}

/** Waits until the target has the nodes of this generation, or a later one, in force. */
function confirmed(
  deps: Deps,
  volume: AoEVolume,
  what: string,
  isDone: (nodes: readonly string[]) => boolean,
  call: Call,
): Promise<AoEVolume> {
  const { generation = 0 } = volume.metadata;
  const until = (now: AoEVolume): AoEVolume | undefined => {
    const { observedGeneration = -1, nodes = [] } = now.status?.initiators ?? {};
    if (observedGeneration >= generation && isDone(nodes)) return now;
    return isUnserved(now, generation) && isDone([]) ? now : undefined;
  };
  return waitFor(deps, volume, { what: `${what} by agent and target on ${volume.spec.nodeName ?? 'its storage node'}`, until }, call);
}
