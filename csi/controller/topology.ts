import { DEFAULT_SEGMENT, SEGMENT_KEY } from '../../api/meta.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Deps } from './deps.ts';

/** The L2 segment of a node. */
export function segmentOfNode({ nodes }: Pick<Deps, 'nodes'>, node: string): string {
  return nodes.get(node)?.status?.segment ?? DEFAULT_SEGMENT;
}

/** From where the volume can be used: from the segment of its storage node; from anywhere while it has none. */
export function topologyOf(deps: Pick<Deps, 'nodes'>, { spec }: AoEVolume): { segments: Record<string, string> }[] {
  return spec.nodeName ? [{ segments: { [SEGMENT_KEY]: segmentOfNode(deps, spec.nodeName) } }] : [];
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
