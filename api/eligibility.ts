import { type AoENode, NodeCondition, segmentOf } from './node.ts';
import { type AoEPool, type PoolNode, selects } from './pool.ts';

/** What the cluster knows of a node beyond its AoENode and its entry in a pool. */
export interface NodeHealth {
  /** Why a node is not Ready; undefined when it is. */
  readonly notReady?: (node: string) => string | undefined;
  /** Why a storage node cannot be relied on; undefined when its agent reports. */
  readonly silent?: (node: AoENode) => string | undefined;
  /** Labels of the Node; undefined when there is none. */
  readonly labels?: (node: string) => Readonly<Record<string, string>> | undefined;
}

/** Why a node takes no new volumes. */
export interface Unfit {
  readonly reason: string;
  /** It may end by itself, as a restart does: the volume waits. */
  readonly passing: boolean;
  /** Its pool is full. */
  readonly full?: true;
}

/** Reasons of condition TargetReady with which no host could use a new volume. */
const NOT_SERVING = new Set(['NotAnswering', 'NoInterface']);

/**
 * Why a node takes no new volumes of a pool, whatever their size; undefined when it takes them. Placement and GetCapacity both ask here.
 * @param node the node's entry in the status of the pool. An agent can make one in any pool: the pool's selector decides
 * @param host its AoENode
 * @param segments those on which the volume may be; any when there are none
 */
export function unfit(
  pool: AoEPool,
  node: PoolNode,
  host: AoENode | undefined,
  health: NodeHealth,
  segments: readonly string[] = [],
): Unfit | undefined {
  const labels = health.labels?.(node.name);
  const segment = segmentOf(host, labels);
  if (health.labels && !selects(pool, labels)) return { reason: notSelected(pool, node.name), passing: false };
  if (!host) return { reason: `${node.name} has no AoENode`, passing: false };
  if (host.spec?.maintenance) return { reason: `${node.name} is in maintenance`, passing: false };
  if (segments.length > 0 && !segments.includes(segment)) return { reason: `${node.name} is on segment ${segment}`, passing: false };
  if (!node.ready) {
    const reason = `${node.name}: ${node.message ?? 'pool not ready'}`;
    return node.full ? { reason, passing: false, full: true } : { reason, passing: true };
  }
  // The last report of a silent agent, of pool and target, never expires: ignore it.
  const silent = health.silent?.(host);
  if (silent !== undefined) return { reason: silent, passing: true };
  const target = host.status?.conditions?.find(({ type }) => type === NodeCondition.TargetReady);
  if (target?.status === 'False' && NOT_SERVING.has(target.reason)) return { reason: `${node.name}: ${target.message}`, passing: true };
  const notReady = health.notReady?.(node.name);
  return notReady === undefined ? undefined : { reason: notReady, passing: true };
}

/** Why what an agent says of a pool on its node does not count: the pool is not to be there. */
export function notSelected({ metadata }: AoEPool, node: string): string {
  return `nodeSelector of pool ${metadata.name} does not match the labels of node ${node}`;
}
