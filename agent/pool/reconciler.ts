import { isDeepStrictEqual } from 'node:util';
import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { formatQuantity } from '../../api/quantity.ts';
import { AOE_POOLS, API_VERSION } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { isNotFound, type Kube, type KubeObject, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { Backend, Measurement } from '../backends/backend.ts';
import { type Orphans, SECOND_LOOK_MS } from './orphans.ts';

const MEASURE_EVERY_MS = 60_000;

export interface PoolsOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply'>;
  pools: Store<AoEPool>;
  /** This node's Node object only. */
  self: Store<KubeObject>;
  /** The AoEVolumes of this node. */
  volumes: Store<AoEVolume>;
  backendOf: (pool: AoEPool) => Backend;
  orphans: Orphans;
  /** Told each measurement; undefined when the pool is not (or no more) on this node. */
  measured: (pool: string, entry: PoolNode | undefined) => void;
  log: Logger;
}

/** Keeps this node's entry in each pool's status. */
export class Pools {
  readonly #options: PoolsOptions;

  constructor(options: PoolsOptions) {
    this.#options = options;
  }

  /** Measures one pool: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<{ requeueAfterMs?: number } | undefined> {
    const { node, pools, self, measured, log } = this.#options;
    const pool = pools.get(name);
    if (!pool || pool.metadata.deletionTimestamp) {
      measured(name, undefined);
      return undefined;
    }
    const before = pool.status?.nodes?.find((entry) => entry.name === node);
    if (!selects(pool, self.get(node))) {
      measured(name, undefined);
      if (before) await this.#write(name, [], signal);
      return undefined;
    }
    const { entry, again } = await this.#measure(pool, signal);
    measured(name, entry);
    if (!isDeepStrictEqual(entry, before)) {
      if (!entry.ready && before?.ready !== false) log.warn({ pool: name, detail: entry.message }, 'pool is not ready on this node');
      await this.#write(name, [entry], signal);
    }
    return { requeueAfterMs: again ? SECOND_LOOK_MS : MEASURE_EVERY_MS };
  }

  async #measure(pool: AoEPool, signal: AbortSignal): Promise<{ entry: PoolNode; again: boolean }> {
    const { node, volumes, backendOf, orphans: looker } = this.#options;
    const { name } = pool.metadata;
    const measurement = await backendOf(pool).measure(signal);
    const known = new Set(volumes.list().map(({ metadata }) => metadata.uid ?? ''));
    const { orphans, again } = looker.look(name, measurement.volumes, (uid) => known.has(uid));
    return { entry: entryOf(node, measurement, orphans), again };
  }

  async #write(name: string, nodes: PoolNode[], signal: AbortSignal): Promise<void> {
    const object = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, status: nodes.length > 0 ? { nodes } : {} };
    const fieldManager = `aoe-csi-agent-${this.#options.node}`;
    try {
      await this.#options.kube.apply(AOE_POOLS, object, { fieldManager, force: true, subresource: 'status', signal });
    } catch (error) {
      if (isNotFound(error)) return;
      throw error;
    }
  }
}

/** Whether the pool is on the node: every label of the selector is there. A node that is not known yet is not selected. */
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
