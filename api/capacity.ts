import { DEFAULT_SEGMENT } from './meta.ts';
import { type AoENode, NodeCondition } from './node.ts';
import type { AoEPool, PoolNode } from './pool.ts';
import { formatQuantity, parseQuantity } from './quantity.ts';
import { type AoEVolume, VOLUME_FINALIZER } from './volume.ts';

/** Bytes that a volume takes in a pool on a node: its capacity, rounded up to the backend's granularity. */
export function footprint(capacity: string, node: PoolNode): number {
  const grain = Math.max(1, parseQuantity(node.granularity ?? '1'));
  return Math.ceil(parseQuantity(capacity) / grain) * grain;
}

/**
 * Whether node, address and capacity are reserved for a volume. A user may set node and address, too: only the operator's finalizer
 * shows that they are reserved.
 */
export function isPlaced({ metadata, spec }: AoEVolume): boolean {
  return spec.nodeName !== undefined && spec.address !== undefined && (metadata.finalizers ?? []).includes(VOLUME_FINALIZER);
}

/**
 * The capacity that is promised to a volume in its pool: what the operator has reserved, and at least what it has. Volumes of earlier
 * versions have no status.reserved: their capacity could not change. Undefined for an external volume.
 */
export function reservedCapacity({ spec, status }: Pick<AoEVolume, 'spec' | 'status'>): string | undefined {
  const { reserved, capacity } = status ?? {};
  if (reserved === undefined || capacity === undefined) return reserved ?? capacity ?? spec.capacity;
  return parseQuantity(capacity) > parseQuantity(reserved) ? capacity : reserved;
}

/**
 * Bytes that new volumes can still reserve on a node of a pool: its size, minus orphans and displaced backing volumes, minus every
 * AoEVolume placed there, whether its backing volume exists yet or not, so that concurrent claims cannot exceed the pool. What is in other
 * pools with the same space counts, too. 0 when the pool is not ready there.
 * @param pools all pools: those that the node's entry names in `sharedWith` are among them
 */
export function available(pool: AoEPool, node: PoolNode, volumes: Iterable<AoEVolume>, pools: readonly AoEPool[]): number {
  if (!node.ready) return 0;
  const names = new Set([pool.metadata.name, ...(node.sharedWith ?? [])]);
  const sharers = pools.filter(({ metadata }) => metadata.name !== pool.metadata.name && names.has(metadata.name));
  const entries = [node, ...sharers.flatMap(({ status }) => status?.nodes?.find(({ name }) => name === node.name) ?? [])];
  let bytes = parseQuantity(node.size ?? '0');
  for (const { orphaned = '0', displacedBytes = '0' } of entries) bytes -= parseQuantity(orphaned) + parseQuantity(displacedBytes);
  for (const volume of volumes) {
    const { pool: name, nodeName } = volume.spec;
    const capacity = reservedCapacity(volume);
    if (name && names.has(name) && nodeName === node.name && capacity && isPlaced(volume)) bytes -= footprint(capacity, node);
  }
  return Math.max(0, bytes);
}

/** What the cluster knows of a node beyond its AoENode and its entry in a pool. */
export interface NodeHealth {
  /** Why a node is not Ready; undefined when it is. */
  readonly notReady?: (node: string) => string | undefined;
  /** Why a storage node cannot be relied on; undefined when its agent reports. */
  readonly silent?: (node: AoENode) => string | undefined;
}

/** Why a node takes no new volumes. */
export interface Unfit {
  readonly reason: string;
  /** It may end by itself, as a restart does: the volume waits. */
  readonly passing: boolean;
}

/** Reasons of condition TargetReady with which no host could use a new volume. */
const NOT_SERVING = new Set(['NotAnswering', 'NoInterface']);

/**
 * Why a node takes no new volumes of a pool, whatever their size; undefined when it takes them. Placement and GetCapacity both ask here.
 * @param node the node's entry in the status of the pool
 * @param host its AoENode
 * @param segments those on which the volume may be; any when there are none
 */
export function unfit(node: PoolNode, host: AoENode | undefined, health: NodeHealth, segments: readonly string[] = []): Unfit | undefined {
  const segment = host?.status?.segment ?? DEFAULT_SEGMENT;
  if (!host) return { reason: `${node.name} has no AoENode`, passing: false };
  if (host.spec?.maintenance) return { reason: `${node.name} is in maintenance`, passing: false };
  if (segments.length > 0 && !segments.includes(segment)) return { reason: `${node.name} is on segment ${segment}`, passing: false };
  if (!node.ready) return { reason: `${node.name}: ${node.message ?? 'pool not ready'}`, passing: true };
  // The last report of a silent agent, of pool and target, never expires: ignore it.
  const silent = health.silent?.(host);
  if (silent !== undefined) return { reason: silent, passing: true };
  const target = host.status?.conditions?.find(({ type }) => type === NodeCondition.TargetReady);
  if (target?.status === 'False' && NOT_SERVING.has(target.reason)) return { reason: `${node.name}: ${target.message}`, passing: true };
  const notReady = health.notReady?.(node.name);
  return notReady === undefined ? undefined : { reason: notReady, passing: true };
}

/** Totals of a pool over the nodes where it can be used, for its status. */
export function poolTotals(nodes: readonly PoolNode[]): { readyNodes: number; size: string; free: string } {
  const ready = nodes.filter((node) => node.ready);
  const sum = (sizes: (string | undefined)[]) => formatQuantity(sizes.reduce((bytes, size) => bytes + parseQuantity(size ?? '0'), 0));
  return { readyNodes: ready.length, size: sum(ready.map(({ size }) => size)), free: sum(ready.map(({ free }) => free)) };
}
