import { reservedCapacity } from '../../api/capacity.ts';
import { type AoEPool, type PoolNode, selects } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { AOE_POOLS } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { applyStatus, type Kube, type KubeObject, messageOf, type Result, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { type Backend, type BackingVolume, type Measurement, roundUp, wholeBytes } from '../backends/backend.ts';
import type { FilePool } from '../backends/file/space.ts';
import { nodeFieldManager } from '../field-manager.ts';
import type { PoolMetrics } from './metrics.ts';
import { CONFIRM_AFTER_MS, type Orphans } from './orphans.ts';
import { findOwners, type Unowned } from './owners.ts';
import { snapshotsOf } from './snapshots.ts';

const MEASURE_EVERY_MS = 60_000;

export interface PoolReconcilerOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'get' | 'listMetadata'>;
  pools: Store<AoEPool>;
  /** The Node object of this node alone. */
  self: Store<KubeObject>;
  /** The AoEVolumes of this node. */
  volumes: Store<AoEVolume>;
  /** The AoEVolumes whose spec.move names this node: the operator counts what their data takes here. */
  moves?: Pick<Store<AoEVolume>, 'list'>;
  /** The AoESnapshots of the cluster. */
  snapshots: Store<AoESnapshot>;
  backendOf: (pool: AoEPool) => Backend;
  orphans: Orphans;
  metrics: Pick<PoolMetrics, 'note'>;
  log: Logger;
}

interface Measured extends Pick<Measurement, 'canFill'> {
  readonly entry: PoolNode;
  /** There are backing volumes of which it is not known yet whether they are orphans. */
  readonly isUnsettled: boolean;
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
    const isHere = pool !== undefined && !pool.metadata.deletionTimestamp && isOn(pool, self.get(node));
    const before = pool?.status?.nodes?.find((entry) => entry.name === node);
    const measured = isHere ? await this.#measure(pool, before, signal) : undefined;
    metrics.note(name, measured && { ...measured.entry, canFill: measured.canFill });
    if (!pool || pool.metadata.deletionTimestamp) return undefined;
    const entry = measured?.entry;
    if (entry?.ready === false && before?.ready !== false)
      log.warn({ pool: name, detail: entry.message }, 'pool is not ready on this node');
    await applyStatus(kube, AOE_POOLS, pool, {
      manager: nodeFieldManager(node),
      fields: { nodes: entry && [entry] },
      present: { nodes: before && [before] },
      signal,
    });
    return measured && { requeueAfterMs: measured.isUnsettled ? CONFIRM_AFTER_MS : MEASURE_EVERY_MS };
  }

  async #measure(pool: AoEPool, before: PoolNode | undefined, signal: AbortSignal): Promise<Measured> {
    const { node, kube, volumes, moves, snapshots, backendOf, orphans: detector, log } = this.#options;
    const backend = backendOf(pool);
    const measurement = await backend.measure(signal);
    const known = new Set([...volumes.list(), ...(moves?.list() ?? [])].map(({ metadata }) => metadata.uid ?? ''));
    const { orphans, hasSuspects } = detector.check(pool.metadata.name, measurement.volumes, (uid) => known.has(uid));
    const { canFill } = measurement;
    const entry = entryOf(node, { ...measurement, size: measurement.size - unreservedBytes(measurement, volumes.list()) });
    const withoutTail = measurement.volumes.filter(({ uid, tail }) => known.has(uid) && tail === undefined).length;
    if (entry.tail !== undefined && withoutTail > 0) entry.withoutTail = withoutTail;
    if (measurement.ready || measurement.full) {
      // A disk that does not answer for a while does not make clones impossible: what was said before stays.
      const found = (await snapshotsOf(pool, backend, { snapshots, orphans: detector, signal })) ?? before?.snapshots;
      if (found) entry.snapshots = found;
    }
    try {
      return { entry: { ...entry, ...unownedOf(await findOwners(kube, orphans, node, signal)) }, isUnsettled: hasSuspects, canFill };
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ pool: pool.metadata.name, detail: messageOf(error) }, 'the API server does not say which backing volumes are orphans');
      // The space that orphans take must not be promised to new volumes: what was found before stays.
      return { entry: { ...entry, ...unownedBefore(before) }, isUnsettled: true, canFill };
    }
  }
}

/** Whether the pool is on the node. One that is not known yet is not selected. */
function isOn(pool: AoEPool, node: KubeObject | undefined): boolean {
  return node !== undefined && selects(pool, node.metadata.labels);
}

/** The file pools that are on the node beside one: they may be on the same file system. */
export function otherFilePools(name: string, pools: readonly AoEPool[], node: KubeObject | undefined): FilePool[] {
  return pools.flatMap((pool) => {
    const { metadata, spec } = pool;
    if (metadata.name === name || spec.directory === undefined || !isOn(pool, node)) return [];
    return [{ pool: metadata.name, directory: spec.directory }];
  });
}

/**
 * Bytes of the pool that interrupted growths have taken beyond what is reserved for their AoEVolumes: spec.capacity was set back
 * meanwhile. Until status.capacity has them, they must not be promised to other volumes.
 */
function unreservedBytes({ volumes, granularity }: Measurement, owners: readonly AoEVolume[]): number {
  let bytes = 0;
  for (const { uid, extended = 0 } of volumes) {
    const owner = extended > 0 ? owners.find(({ metadata }) => metadata.uid === uid) : undefined;
    if (owner) bytes += Math.max(0, extended - roundUp(parseQuantity(reservedCapacity(owner) ?? '0'), granularity));
  }
  return bytes;
}

/** The part of an entry about backing volumes that no AoEVolume of this node names. */
type UnownedPart = Pick<PoolNode, 'orphans' | 'orphaned' | 'displaced' | 'displacedBytes' | 'displacedVolumes'>;

function unownedOf({ orphans, displaced }: Unowned): UnownedPart {
  const size = (volumes: readonly BackingVolume[]) => formatQuantity(volumes.reduce((sum, volume) => sum + wholeBytes(volume), 0));
  const part: UnownedPart = {};
  if (orphans.length > 0) {
    part.orphaned = size(orphans);
    part.orphans = orphans.map((orphan) => (orphan.volume ? `${orphan.name} (was ${orphan.volume})` : orphan.name)).sort();
  }
  if (displaced.length > 0) {
    part.displacedBytes = size(displaced.map(({ backing }) => backing));
    part.displaced = displaced
      .map(({ backing, owner: { metadata, spec } }) => {
        const place = spec.nodeName === undefined ? 'is not placed' : `is placed on node ${spec.nodeName}`;
        return `${backing.name} belongs to AoEVolume ${metadata.name}, which ${place}`;
      })
      .sort();
    part.displacedVolumes = displaced
      .map(({ backing: { uid, volume, bytes, moves, copy }, owner: { metadata } }) => ({
        uid,
        volume: volume ?? metadata.name,
        bytes,
        ...(moves === undefined ? {} : { moves }),
        ...(copy === undefined ? {} : { copy: copy.split('/')[0] ?? '' }),
      }))
      .sort((a, b) => (a.uid < b.uid ? -1 : 1));
  }
  return part;
}

function unownedBefore(before: PoolNode | undefined): UnownedPart {
  const part: UnownedPart = {};
  if (before?.orphaned !== undefined) part.orphaned = before.orphaned;
  if (before?.orphans) part.orphans = before.orphans;
  if (before?.displacedBytes !== undefined) part.displacedBytes = before.displacedBytes;
  if (before?.displaced) part.displaced = before.displaced;
  if (before?.displacedVolumes) part.displacedVolumes = before.displacedVolumes;
  return part;
}

function entryOf(name: string, measurement: Measurement): PoolNode {
  const { ready, full, message, size, free, sharedWith = [], granularity, tail, dataPercent, metadataPercent, volumes } = measurement;
  const entry: PoolNode = { name, ready, ...(full ? { full } : {}) };
  if (message !== undefined) entry.message = message;
  if (ready || size > 0) {
    entry.size = formatQuantity(size);
    entry.free = formatQuantity(free);
    if (sharedWith.length > 0) entry.sharedWith = sharedWith;
    entry.granularity = formatQuantity(granularity);
    if (tail > 0) entry.tail = formatQuantity(tail);
    entry.volumes = volumes.length;
  }
  if (dataPercent !== undefined) entry.dataPercent = dataPercent;
  if (metadataPercent !== undefined) entry.metadataPercent = metadataPercent;
  return entry;
}
