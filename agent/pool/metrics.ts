import type { PoolNode } from '../../api/pool.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { gauge } from '../../run/metrics.ts';
import type { Measurement } from '../backends/backend.ts';

const LABEL = ['pool'] as const;

type Noted = PoolNode & Pick<Measurement, 'canFill'>;

/** The last measurement of each pool on this node, for metrics. */
export class PoolMetrics {
  readonly #entries = new Map<string, Noted>();

  /** Notes a measurement; undefined when the pool is not on this node. */
  note(pool: string, entry: Noted | undefined): void {
    if (entry) this.#entries.set(pool, entry);
    else this.#entries.delete(pool);
  }

  /** Registers the gauges: once in a process. */
  register(): void {
    const each = (name: string, help: string, value: (entry: PoolNode) => number): void =>
      gauge(`aoe_agent_pool_${name}`, help, LABEL, (set) => {
        for (const [pool, entry] of this.#entries) set({ pool }, value(entry));
      });
    each('ready', '1 when the pool can be used on this node.', ({ ready }) => (ready ? 1 : 0));
    each('size_bytes', 'Bytes that the volumes of the pool may take in all.', ({ size }) => parseQuantity(size ?? '0'));
    each('free_bytes', 'Bytes of the pool that are not promised to a volume.', ({ free }) => parseQuantity(free ?? '0'));
    each('volumes', 'Backing volumes in the pool.', ({ volumes }) => volumes ?? 0);
    each('orphans', 'Backing volumes without an AoEVolume.', ({ orphans }) => orphans?.length ?? 0);
    each('orphaned_bytes', 'Bytes that backing volumes without an AoEVolume take.', ({ orphaned }) => parseQuantity(orphaned ?? '0'));
    each('orphaned_snapshots', 'Snapshots without an AoESnapshot.', ({ snapshots }) => snapshots?.orphans?.length ?? 0);
    each('displaced', 'Backing volumes whose AoEVolume is placed on another node.', ({ displaced }) => displaced?.length ?? 0);
    gauge('aoe_agent_thin_pool_used_ratio', 'Share of a thin pool that is in use.', ['pool', 'part'], (set) => {
      for (const [pool, { dataPercent, metadataPercent }] of this.#entries) {
        if (dataPercent) set({ pool, part: 'data' }, Number(dataPercent) / 100);
        if (metadataPercent) set({ pool, part: 'metadata' }, Number(metadataPercent) / 100);
      }
    });
    const canFill = '0 when all that can be written into a thin pool has its place there, so that no write can fill it.';
    gauge('aoe_agent_thin_pool_can_fill', canFill, ['pool', 'part'], (set) => {
      for (const [pool, entry] of this.#entries) if (entry.canFill !== undefined) set({ pool, part: 'data' }, entry.canFill ? 1 : 0);
    });
  }
}
