import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoESnapshotGroup } from '../api/snapshot-group.ts';
import { type AoEVolume, isReportOfPlace } from '../api/volume.ts';
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
  controller: 'volumes' | 'moves' | 'snapshots' | 'groups' | 'pools' | 'node' | 'exports' | 'copies';
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
  /** The same for the pool at the other place of a move. */
  volumesOfMove: ({ volumes }: Pick<TriggerContext, 'volumes'>): WatchOptions<AoEPool> => ({
    when: generationChanged,
    keys: ({ object }) => namesOf(volumes.list().filter(({ spec }) => spec.move?.pool === object.metadata.name)),
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
  /** Each change of a group: its stage is what an agent waits for. */
  groups: { keys: ({ object }) => [object.metadata.name] } satisfies WatchOptions<AoESnapshotGroup>,
  groupOfSnapshot: { keys: ({ object }) => (object.spec.group ? [object.spec.group.name] : []) } satisfies WatchOptions<AoESnapshot>,
  pools: { when: generationChanged, keys: ({ object }) => [object.metadata.name] } satisfies WatchOptions<AoEPool>,
  /** A volume that was moved here: its data is not displaced any more. */
  poolsOfVolume: {
    when: ({ type, object }) => type === 'applied' && !isReportOfPlace(object),
    keys: ({ object: { spec } }) => (spec.pool === undefined ? [] : [spec.pool]),
  } satisfies WatchOptions<AoEVolume>,
  /** A volume that is gone, or was moved to another node: this node must not serve it any more. */
  exports: ({ node }: TriggerContext): WatchOptions<AoEVolume> => ({ when: ({ type }) => type === 'deleted', keys: () => [node] }),
  /** The labels of this node decide which pools are on it. */
  poolsOfNode: ({ pools }: TriggerContext): WatchOptions<KubeObject> => ({ when: labelsChanged, keys: () => namesOf(pools.list()) }),
  /** The operator asks what the target of this node heard. */
  heard: ({ node }: Pick<TriggerContext, 'node'>): WatchOptions<AoENode> => ({
    when: fieldChanged(({ status }) => status?.suspicion),
    keys: () => [node],
  }),
  /** The AoENode of this node alone. */
  node: ({ node }: TriggerContext): WatchOptions<AoENode> => ({ keys: ({ object }) => (object.metadata.name === node ? [node] : []) }),
};

/**
 * After a change at the target process: the state of this node, and the volume, or all when more than one may be concerned. After the
 * connection was made or lost, or a volume of no AoEVolume of this node has changed, also all exports: the target may serve what is not
 * this node's any more.
 */
export function afterTargetChange(change: TargetChange, { node, volumes, byUid, snapshots }: TriggerContext): Request[] {
  const concerned = change.type === 'volume' ? byUid.get(change.uid) : namesOf(volumes.list());
  // A reconcile that was under way may have exported what was moved to another node meanwhile.
  const isUnknown = change.type === 'volume' && concerned.length === 0;
  const exports: Request[] = change.type === 'connection' || isUnknown ? [{ controller: 'exports', key: node }] : [];
  const isServed = ({ status }: AoESnapshot): boolean => status?.nodeName === node && status.copyServed !== undefined;
  // It may be a snapshot that is served for copies.
  const served = exports.length > 0 ? namesOf(snapshots.list().filter(isServed)) : [];
  const copied = served.map((key): Request => ({ controller: 'snapshots', key }));
  return [{ controller: 'node', key: node }, ...exports, ...copied, ...concerned.map((key): Request => ({ controller: 'volumes', key }))];
}

/** After what the reconcile of a volume found out. */
export function afterVolumeEvent(event: VolumeEvent): Request[] {
  if (event.type === 'data') return [{ controller: 'volumes', key: event.volume }];
  return [{ controller: 'pools', key: event.pool, afterMs: MEASURE_AFTER_MS }];
}

/** After a snapshot was taken or removed in a pool. @param volume name of its AoEVolume, which may have waited for that to grow or to be removed */
export function afterSnapshot({ pool, volume }: { pool: string; volume?: string }): Request[] {
  const waiting: Request[] = volume === undefined ? [] : [{ controller: 'volumes', key: volume }];
  return [{ controller: 'pools', key: pool, afterMs: MEASURE_AFTER_MS }, ...waiting];
}

/** After the local link was made or lost. */
export function afterLinkChange({ node }: TriggerContext): Request[] {
  return [{ controller: 'node', key: node }];
}

function namesOf(objects: readonly KubeObject[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}
