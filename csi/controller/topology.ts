import { SEGMENT_KEY } from '../../api/meta.ts';
import { segmentOf as segmentOfAoENode } from '../../api/node.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Deps } from './deps.ts';

/** The L2 segment of a node. */
export function segmentOfNode({ nodes, health }: Pick<Deps, 'nodes' | 'health'>, node: string): string {
  return segmentOfAoENode(nodes.get(node), health.labels?.(node));
}

/** From where data on a storage node can be used: from the segment of that node; from anywhere while it is on none. */
export function topologyOf(deps: Pick<Deps, 'nodes' | 'health'>, nodeName: string | undefined): { segments: Record<string, string> }[] {
  return nodeName ? [{ segments: { [SEGMENT_KEY]: segmentOfNode(deps, nodeName) } }] : [];
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
