import type { AoEPool, PoolNode } from './pool.ts';
import { formatQuantity, parseQuantity, roundUp } from './quantity.ts';
import { type AoEVolume, VOLUME_FINALIZER } from './volume.ts';

/** Bytes that a volume takes in a pool on a node: its capacity, rounded up to the backend's granularity, and its tail. */
export function footprint(capacity: string, node: PoolNode): number {
  return roundUp(parseQuantity(capacity), grainOf(node)) + tailOf(node);
}

/** Bytes of a volume's tail, which its backing volume has behind the capacity; 0 where agents of earlier versions make them. */
export function tailOf(node: Pick<PoolNode, 'tail'>): number {
  return parseQuantity(node.tail ?? '0');
}

/** The unit in bytes in which the backend makes volumes. */
export function grainOf(node: PoolNode): number {
  return Math.max(1, parseQuantity(node.granularity ?? '1'));
}

/** What a placed volume takes where: a key of pool and node, and its capacity in bytes. Undefined when it takes nothing. */
export function reservationOf(volume: AoEVolume): { key: string; size: number } | undefined {
  const { pool, nodeName } = volume.spec;
  const capacity = reservedCapacity(volume);
  if (pool === undefined || nodeName === undefined || !capacity || !isPlaced(volume)) return undefined;
  return { key: reservationKey(pool, nodeName), size: parseQuantity(capacity) };
}

/** What the data of a volume takes at the other place of a move that is under way, as {@link reservationOf}. */
export function moveReservationOf(volume: AoEVolume): { key: string; size: number } | undefined {
  const { move } = volume.spec;
  const capacity = reservedCapacity(volume);
  return move && capacity ? { key: reservationKey(move.pool, move.nodeName), size: parseQuantity(capacity) } : undefined;
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
 * @param reserved what the placed AoEVolumes of a pool take on the node, see {@link reservationOf}, each rounded up to {@link grainOf}, and with a
 * tail of {@link tailOf}
 */
export function available(pool: AoEPool, node: PoolNode, pools: readonly AoEPool[], reserved: (pool: string) => number): number {
  if (!node.ready) return 0;
  const names = new Set([pool.metadata.name, ...(node.sharedWith ?? [])]);
  const sharers = pools.filter(({ metadata }) => metadata.name !== pool.metadata.name && names.has(metadata.name));
  const entries = [node, ...sharers.flatMap(({ status }) => status?.nodes?.find(({ name }) => name === node.name) ?? [])];
  let bytes = parseQuantity(node.size ?? '0');
  for (const entry of entries) {
    const { orphaned = '0', displacedBytes = '0', withoutTail = 0 } = entry;
    bytes += withoutTail * tailOf(entry) - parseQuantity(orphaned) - parseQuantity(displacedBytes);
  }
  for (const name of names) bytes -= reserved(name);
  return Math.max(0, bytes);
}

/** Totals of a pool over the nodes where it can be used, for its status. */
export function poolTotals(nodes: readonly PoolNode[]): { readyNodes: number; size: string; free: string } {
  const ready = nodes.filter((node) => node.ready);
  const sum = (sizes: (string | undefined)[]) => formatQuantity(sizes.reduce((bytes, size) => bytes + parseQuantity(size ?? '0'), 0));
  return { readyNodes: ready.length, size: sum(ready.map(({ size }) => size)), free: sum(ready.map(({ free }) => free)) };
}
