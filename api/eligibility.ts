import type { AgentLiveness } from './agent-liveness.ts';
import { type KubeNode, notReady } from './kube-node.ts';
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

/** {@link NodeHealth} by what the Nodes and the agents say now. */
export function nodeHealth(
  kubeNodes: { get(name: string): KubeNode | undefined },
  agents: Pick<AgentLiveness, 'silence'>,
): Required<NodeHealth> {
  return {
    notReady: (node) => notReady(kubeNodes.get(node)),
    silent: (node) => agents.silence(node),
    labels: (node) => kubeNodes.get(node)?.metadata.labels,
  };
}

/** Why a node takes no new volumes. */
export interface Unfit {
  readonly reason: string;
  /** `passing`: it may end by itself, as a restart does: the volume waits. `full`: its pool is full. */
  readonly kind: 'lasting' | 'passing' | 'full';
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
  const lasting = (reason: string): Unfit => ({ reason, kind: 'lasting' });
  const passing = (reason: string): Unfit => ({ reason, kind: 'passing' });
  const unselected = health.labels && notSelected(pool, node.name, labels);
  if (unselected !== undefined) return lasting(unselected);
  if (!host) return lasting(`${node.name} has no AoENode`);
  if (host.spec?.maintenance) return lasting(`${node.name} is in maintenance`);
  if (segments.length > 0 && !segments.includes(segment)) return lasting(`${node.name} is on segment ${segment}`);
  if (!node.ready) return { reason: `${node.name}: ${node.message ?? 'pool not ready'}`, kind: node.full ? 'full' : 'passing' };
  // The last report of a silent agent, of pool and target, never expires: ignore it.
  const silent = health.silent?.(host);
  if (silent !== undefined) return passing(silent);
  const target = host.status?.conditions?.find(({ type }) => type === NodeCondition.TargetReady);
  if (target?.status === 'False' && NOT_SERVING.has(target.reason)) return passing(`${node.name}: ${target.message}`);
  const why = health.notReady?.(node.name);
  return why === undefined ? undefined : passing(why);
}

/** Why what an agent says of a pool on its node does not count, for people: the pool is not to be there. Undefined when it is. */
export function notSelected(pool: AoEPool, node: string, labels: Readonly<Record<string, string>> | undefined): string | undefined {
  if (selects(pool, labels)) return undefined;
  return `nodeSelector of pool ${pool.metadata.name} does not match the labels of node ${node}`;
}
