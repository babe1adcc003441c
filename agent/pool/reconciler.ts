import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { formatQuantity } from '../../api/quantity.ts';
import { AOE_POOLS } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { applyStatus, type Kube, type KubeObject, type Result, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { Backend, Measurement } from '../backends/backend.ts';
import { nodeFieldManager } from '../field-manager.ts';
import type { PoolMetrics } from './metrics.ts';
import { CONFIRM_AFTER_MS, type Orphans } from './orphans.ts';

const MEASURE_EVERY_MS = 60_000;

export interface PoolReconcilerOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'get'>;
  pools: Store<AoEPool>;
  /** The Node object of this node alone. */
  self: Store<KubeObject>;
  /** The AoEVolumes of this node. */
  volumes: Store<AoEVolume>;
  backendOf: (pool: AoEPool) => Backend;
  orphans: Orphans;
  metrics: Pick<PoolMetrics, 'note'>;
  log: Logger;
}

/** Keeps this node's entry in the status of each AoEPool. */
export class PoolReconciler {
  readonly #options: PoolReconcilerOptions;

  constructor(options: PoolReconcilerOptions) {
    this.#options = options;
  }

  /** Measures one pool: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const { node, kube, pools, self, metrics, log } = this.#options;
    const pool = pools.get(name);
    const isHere = pool !== undefined && !pool.metadata.deletionTimestamp && selects(pool, self.get(node));
    const measured = isHere ? await this.#measure(pool, signal) : undefined;
    metrics.note(name, measured?.entry);
    if (!pool || pool.metadata.deletionTimestamp) return undefined;
    const before = pool.status?.nodes?.find((entry) => entry.name === node);
    const entry = measured?.entry;
    if (entry?.ready === false && before?.ready !== false)
      log.warn({ pool: name, detail: entry.message }, 'pool is not ready on this node');
    await applyStatus(kube, AOE_POOLS, pool, {
      manager: nodeFieldManager(node),
      fields: { nodes: entry && [entry] },
      present: { nodes: before && [before] },
      signal,
    });
    return measured && { requeueAfterMs: measured.hasSuspects ? CONFIRM_AFTER_MS : MEASURE_EVERY_MS };
  }

  async #measure(pool: AoEPool, signal: AbortSignal): Promise<{ entry: PoolNode; hasSuspects: boolean }> {
    const { node, volumes, backendOf, orphans: detector } = this.#options;
    const measurement = await backendOf(pool).measure(signal);
    const known = new Set(volumes.list().map(({ metadata }) => metadata.uid ?? ''));
    const { orphans, hasSuspects } = detector.check(pool.metadata.name, measurement.volumes, (uid) => known.has(uid));
    return { entry: entryOf(node, measurement, orphans), hasSuspects };
  }
}

/** Whether the pool is on the node: the node has every label of the selector. A node that is not known yet is not selected. */
export function selects({ spec }: AoEPool, node: KubeObject | undefined): boolean {
  if (!node) return false;
  return Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => node.metadata.labels?.[key] === value);
}

function entryOf(name: string, measurement: Measurement, orphans: Measurement['volumes']): PoolNode {
  const { ready, message, size, free, granularity, dataPercent, metadataPercent, volumes } = measurement;
  const entry: PoolNode = { name, ready };
  if (message !== undefined) entry.message = message;
  if (ready || size > 0) {
    entry.size = formatQuantity(size);
    entry.free = formatQuantity(free);
    entry.granularity = formatQuantity(granularity);
    entry.volumes = volumes.length;
  }
  if (orphans.length > 0) {
    entry.orphaned = formatQuantity(orphans.reduce((sum, { bytes }) => sum + bytes, 0));
    entry.orphans = orphans.map((orphan) => (orphan.volume ? `${orphan.name} (was ${orphan.volume})` : orphan.name)).sort();
  }
  if (dataPercent !== undefined) entry.dataPercent = dataPercent;
  if (metadataPercent !== undefined) entry.metadataPercent = metadataPercent;
  return entry;
}
