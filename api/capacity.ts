import type { PoolNode } from './pool.ts';
import { formatQuantity, parseQuantity } from './quantity.ts';
import { type AoEVolume, VOLUME_FINALIZER } from './volume.ts';

/** Bytes that a volume takes in a pool on a node: its capacity, rounded up to the backend's granularity. */
export function footprint(capacity: string, node: PoolNode): number {
  return roundUp(parseQuantity(capacity), grainOf(node));
}

/** @param grain at least 1 */
export function roundUp(bytes: number, grain: number): number {
  return Math.ceil(bytes / grain) * grain;
}

/** The unit in bytes in which the backend makes volumes. */
export function grainOf(node: PoolNode): number {
  return Math.max(1, parseQuantity(node.granularity ?? '1'));
}

/** What a placed volume takes where: a key of pool and node, and its capacity in bytes. Undefined when it takes nothing. */
export function reservationOf(volume: AoEVolume): { key: string; size: number } | undefined {
  const { pool, nodeName, capacity } = volume.spec;
  if (pool === undefined || nodeName === undefined || !capacity || !isPlaced(volume)) return undefined;
  return { key: reservationKey(pool, nodeName), size: parseQuantity(capacity) };
}

/** The key of {@link reservationOf}. */
export function reservationKey(pool: string, node: string): string {
  return `${pool} ${node}`;
}

/**
 * Whether node, address and capacity are reserved for a volume. A user may set node and address, too: only the operator's finalizer
 * shows that they are reserved.
 */
export function isPlaced({ metadata, spec }: AoEVolume): boolean {
  return spec.nodeName !== undefined && spec.address !== undefined && (metadata.finalizers ?? []).includes(VOLUME_FINALIZER);
}

/**
 * Bytes that new volumes can still reserve on a node of a pool: its size, minus orphans and displaced backing volumes, minus every
 * AoEVolume placed there, whether its backing volume exists yet or not, so that concurrent claims cannot exceed the pool. 0 when the
 * pool is not ready there.
 * @param reserved what the placed AoEVolumes take there, see {@link reservationOf}, each rounded up to {@link grainOf} the node
 */
export function available(node: PoolNode, reserved: number): number {
  if (!node.ready) return 0;
  const unowned = parseQuantity(node.orphaned ?? '0') + parseQuantity(node.displacedBytes ?? '0');
  return Math.max(0, parseQuantity(node.size ?? '0') - unowned - reserved);
}

/** Totals of a pool over the nodes where it can be used, for its status. */
export function poolTotals(nodes: readonly PoolNode[]): { readyNodes: number; size: string; free: string } {
  const ready = nodes.filter((node) => node.ready);
  const sum = (sizes: (string | undefined)[]) => formatQuantity(sizes.reduce((bytes, size) => bytes + parseQuantity(size ?? '0'), 0));
  return { readyNodes: ready.length, size: sum(ready.map(({ size }) => size)), free: sum(ready.map(({ free }) => free)) };
}
