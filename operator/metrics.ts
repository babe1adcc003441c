import { parseQuantity } from '../api/quantity.ts';
import type { AoEVolume } from '../api/volume.ts';
import type { Store } from '../kube/mod.ts';
import { gauge } from '../run/metrics.ts';

/** Registers gauges of volumes by phase, and of what they reserve by pool and node: once in a process. */
export function countVolumes(volumes: Pick<Store<AoEVolume>, 'list'>): void {
  gauge('aoe_csi_volumes', 'AoEVolumes by phase and, where not ready, reason.', ['phase', 'reason'], (set) => {
    const counts = new Map<string, { phase: string; reason: string; count: number }>();
    for (const { status } of volumes.list()) {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      const phase = status?.phase ?? 'Pending';
      const reason = ready && ready.status !== 'True' ? ready.reason : '';
      const entry = counts.get(`${phase}/${reason}`) ?? { phase, reason, count: 0 };
      entry.count++;
      counts.set(`${phase}/${reason}`, entry);
    }
    for (const { phase, reason, count } of counts.values()) set({ phase, reason }, count);
  });
  gauge('aoe_csi_reserved_bytes', 'Capacity of placed AoEVolumes, by pool and node.', ['pool', 'node'], (set) => {
    const sums = new Map<string, { pool: string; node: string; bytes: number }>();
    for (const { spec } of volumes.list()) {
      if (!spec.nodeName || !spec.pool || !spec.capacity) continue;
      const key = `${spec.pool}/${spec.nodeName}`;
      const entry = sums.get(key) ?? { pool: spec.pool, node: spec.nodeName, bytes: 0 };
      entry.bytes += parseQuantity(spec.capacity);
      sums.set(key, entry);
    }
    for (const { pool, node, bytes } of sums.values()) set({ pool, node }, bytes);
  });
}
