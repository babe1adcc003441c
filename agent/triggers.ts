import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoEVolume } from '../api/volume.ts';
import { fieldChanged, generationChanged, type KubeObject, labelsChanged, type Store, type WatchOptions } from '../kube/mod.ts';
import type { TargetChange } from './target/connection.ts';
import type { VolumeEvent } from './volume/reconciler.ts';

/** A burst of changes in a pool is measured once, this long after the first of them. */
const MEASURE_AFTER_MS = 1_000;

export interface TriggerContext {
  /** Name of this node. */
  node: string;
  volumes: Pick<Store<AoEVolume>, 'list'>;
  /** Names of volumes by metadata.uid. */
  byUid: { get(uid: string): string[] };
  pools: Pick<Store<AoEPool>, 'list'>;
  snapshots: Pick<Store<AoESnapshot>, 'list'>;
}

/** A key to reconcile, at once or after a while. */
export interface Request {
  controller: 'volumes' | 'snapshots' | 'pools' | 'node' | 'exports';
  key: string;
  afterMs?: number;
}

/** All agents write to the status of every pool, and to their AoENodes: changes there lead to nothing but what is named here. */
export const watches = {
  /** Each change of a volume, its status included: what others wrote there may have to be corrected. */
  volumes: { keys: ({ object }) => [object.metadata.name] } satisfies WatchOptions<AoEVolume>,
  /** A pool with new settings has another backend. */
  volumesOfPool: ({ volumes }: TriggerContext): WatchOptions<AoEPool> => ({
    when: generationChanged,
    keys: ({ object }) => namesOf(volumes.list().filter(({ spec }) => spec.pool === object.metadata.name)),
  }),
  /** A node with other addresses: every volume that names nodes may admit it. */
  volumesWithNodes: ({ volumes }: TriggerContext): WatchOptions<AoENode> => ({
    when: fieldChanged(({ status }) => status?.interfaces),
    keys: () => namesOf(volumes.list().filter(({ spec }) => (spec.initiators?.nodes?.length ?? 0) > 0)),
  }),
  /** Each change of a snapshot, its status included. */
  snapshots: { keys: ({ object }) => [object.metadata.name] } satisfies WatchOptions<AoESnapshot>,
  /** A volume that is placed here, has data now, or is to be deleted: a snapshot of it may wait for that. */
  snapshotsOfVolume: ({ snapshots }: TriggerContext): WatchOptions<AoEVolume> => ({
    when: fieldChanged(({ metadata, status }) => [metadata.deletionTimestamp, metadata.finalizers, status?.capacity]),
    keys: ({ object }) =>
      namesOf(snapshots.list().filter(({ spec, status }) => spec.volumeName === object.metadata.name && status?.createdAt === undefined)),
  }),
  snapshotsOfPool: ({ snapshots }: TriggerContext): WatchOptions<AoEPool> => ({
    when: generationChanged,
    keys: ({ object }) => namesOf(snapshots.list().filter(({ status }) => status?.pool === object.metadata.name)),
  }),
  pools: { when: generationChanged, keys: ({ object }) => [object.metadata.name] } satisfies WatchOptions<AoEPool>,
  /** The labels of this node decide which pools are on it. */
  poolsOfNode: ({ pools }: TriggerContext): WatchOptions<KubeObject> => ({ when: labelsChanged, keys: () => namesOf(pools.list()) }),
  /** The AoENode of this node alone. */
  node: ({ node }: TriggerContext): WatchOptions<AoENode> => ({ keys: ({ object }) => (object.metadata.name === node ? [node] : []) }),
};

/**
 * After a change at the target process: the state of this node, and the volume, or all when more than one may be concerned. After the
 * connection was made or lost also all exports: the target may serve what is not this node's any more.
 */
export function afterTargetChange(change: TargetChange, { node, volumes, byUid }: TriggerContext): Request[] {
  const concerned = change.type === 'volume' ? byUid.get(change.uid) : namesOf(volumes.list());
  const exports: Request[] = change.type === 'connection' ? [{ controller: 'exports', key: node }] : [];
  return [{ controller: 'node', key: node }, ...exports, ...concerned.map((key): Request => ({ controller: 'volumes', key }))];
}

/** After what the reconcile of a volume found out. */
export function afterVolumeEvent(event: VolumeEvent): Request[] {
  if (event.type === 'data') return [{ controller: 'volumes', key: event.volume }];
  return [{ controller: 'pools', key: event.pool, afterMs: MEASURE_AFTER_MS }];
}

/** After a snapshot was taken or removed in a pool. */
export function afterSnapshot(pool: string): Request[] {
  return [{ controller: 'pools', key: pool, afterMs: MEASURE_AFTER_MS }];
}

/** After the local link was made or lost. */
export function afterLinkChange({ node }: TriggerContext): Request[] {
  return [{ controller: 'node', key: node }];
}

function namesOf(objects: readonly KubeObject[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}
