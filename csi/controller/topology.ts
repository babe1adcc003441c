import { SEGMENT_KEY } from '../../api/meta.ts';
import { type AoENode, segmentOf as segmentOfAoENode } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';

/** The L2 segment of a node. A node that the watch does not show may be new: it would seem to be on the default segment. */
export async function segmentOfNode({ kube, nodes, health }: Pick<Deps, 'kube' | 'nodes' | 'health'>, node: string, { signal }: Call) {
  const shown = nodes.get(node) ?? (await kube.get<AoENode>(AOE_NODES, node, { signal }));
  return segmentOfAoENode(shown, health.labels?.(node));
}

const onSegment = (segment: string) => [{ segments: { [SEGMENT_KEY]: segment } }];

/** From where data on a storage node can be used: from the segment of that node; from anywhere while it is on none. */
export async function findTopology(deps: Pick<Deps, 'kube' | 'nodes' | 'health'>, nodeName: string | undefined, call: Call) {
  return nodeName ? onSegment(await segmentOfNode(deps, nodeName, call)) : [];
}

/** The same, as the watch shows it: for lists, which are asked for again. */
export function topologyOf({ nodes, health }: Pick<Deps, 'nodes' | 'health'>, nodeName: string | undefined) {
  return nodeName ? onSegment(segmentOfAoENode(nodes.get(nodeName), health.labels?.(nodeName))) : [];
}

/**
 * The segments that a caller permits; none when it permits all.
 * @throws RpcError INVALID_ARGUMENT when the topology has keys that are not ours
 */
export function segmentsOf(requirements: csi.v1.ITopologyRequirement | null | undefined): string[] {
  const { requisite = [], preferred = [] } = requirements ?? {};
  const terms = (requisite ?? []).length > 0 ? (requisite ?? []) : (preferred ?? []);
  return [...new Set(terms.flatMap((topology) => segmentOf(topology) ?? []))];
}

/**
 * The segment that a topology names; undefined when it names none.
 * @throws RpcError INVALID_ARGUMENT when it has keys that are not ours
 */
export function segmentOf(topology: csi.v1.ITopology | null | undefined): string | undefined {
  const { [SEGMENT_KEY]: segment, ...others } = topology?.segments ?? {};
  const unknown = Object.keys(others);
  if (unknown.length > 0)
    throw new RpcError(Code.INVALID_ARGUMENT, `topology key ${unknown.join(', ')} is not known: the only key is ${SEGMENT_KEY}`);
  return segment;
}
