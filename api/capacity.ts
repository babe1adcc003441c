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
 * AoEVolume placed there, whether its backing volume exists yet or not, so that concurrent claims cannot exceed the pool. 0 when the
 * pool is not ready there.
 */
export function available(pool: AoEPool, node: PoolNode, volumes: Iterable<AoEVolume>): number {
  if (!node.ready) return 0;
  let bytes = parseQuantity(node.size ?? '0') - parseQuantity(node.orphaned ?? '0') - parseQuantity(node.displacedBytes ?? '0');
  for (const volume of volumes) {
    const { pool: name, nodeName } = volume.spec;
    const capacity = reservedCapacity(volume);
    if (name === pool.metadata.name && nodeName === node.name && capacity && isPlaced(volume)) bytes -= footprint(capacity, node);
  }
  return Math.max(0, bytes);
}

/** Totals of a pool over the nodes where it can be used, for its status. */
export function poolTotals(nodes: readonly PoolNode[]): { readyNodes: number; size: string; free: string } {
  const ready = nodes.filter((node) => node.ready);
  const sum = (sizes: (string | undefined)[]) => formatQuantity(sizes.reduce((bytes, size) => bytes + parseQuantity(size ?? '0'), 0));
  return { readyNodes: ready.length, size: sum(ready.map(({ size }) => size)), free: sum(ready.map(({ free }) => free)) };
}
