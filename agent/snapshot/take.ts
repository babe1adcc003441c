import type { AoEPool } from '../../api/pool.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, isAuthenticated, isCopiedAway, isReportOfPlace } from '../../api/volume.ts';
import type { Backend, Snapshots } from '../backends/backend.ts';
import { isTailExposed } from '../volume/data.ts';
import { wasProvisioned } from '../volume/observe.ts';
import type { FileSystemFreeze } from './freeze.ts';
import { type Holder, instantOf } from './instant.ts';
import { failedBy, type Outcome, refused, taken } from './outcome.ts';
import { type Place, wasTaken } from './place.ts';

/** Another AoESnapshot of the same name may just have been deleted. */
const NAMESAKE_RETRY_MS = 5_000;
/** The data of its volume is opened as soon as an agent starts. */
const OPENED_RETRY_MS = 5_000;

export interface TakeContext {
  pools: { get(name: string): AoEPool | undefined };
  /** The AoEVolumes of this node. */
  volumes: { get(name: string): AoEVolume | undefined };
  backendOf: (pool: AoEPool) => Backend;
  target: Holder;
}

/** For snapshots that are taken alone. */
export interface SingleContext extends TakeContext {
  /** For those with spec.freeze. */
  freeze: Pick<FileSystemFreeze, 'during'>;
}

/**
 * Looks for a snapshot, and whether it can be taken when it was never taken.
 * @returns an outcome when there is nothing to be taken
 * @throws BackendError
 */
export async function examine(
  { pools, volumes, backendOf }: Pick<TakeContext, 'pools' | 'volumes' | 'backendOf'>,
  snapshot: AoESnapshot,
  place: Place,
  signal: AbortSignal,
): Promise<Outcome | Snapshots> {
  const { uid = '', name } = snapshot.metadata;
  if (place.pool === '') return refused('VolumeNotFound', `AoEVolume ${snapshot.spec.volumeName} is not on this node any more`);
  const pool = pools.get(place.pool);
  if (!pool) return refused('NoSuchPool', `AoEPool ${place.pool} does not exist: create it`);
  const backend = backendOf(pool);
  const { snapshots } = backend;
  if (!snapshots) return refused('SnapshotsUnsupported', unsupportedBy(pool));
  const found = await snapshots.find(uid, signal);
  if (found) return taken(found);
  if (wasTaken(snapshot)) {
    const message = `the snapshot is gone from pool ${place.pool} on this node, and with it the data: bring it back, or delete the AoESnapshot`;
    return refused('SnapshotLost', message, 60_000);
  }
  const volume = volumes.get(snapshot.spec.volumeName);
  const obstacle = obstacleOf(snapshot, volume, place) ?? (await tailObstacle(backend, volume, signal));
  if (obstacle) return obstacle;
  const namesake = (await snapshots.list(signal)).find(({ snapshot: of }) => of === name);
  if (namesake) {
    const message = `there is data of an earlier AoESnapshot of this name, in ${namesake.name} (UID ${namesake.uid}): no other is taken while it is there. Give this one another name, or remove that one on the node. If it is just being removed, this one is taken after that`;
    return refused('OrphanOfSameName', message, NAMESAKE_RETRY_MS);
  }
  return snapshots;
}

/**
 * Looks for a snapshot, and takes it when it was never taken. Errors of backend and target are part of the outcome.
 * @param claim records the place and the finalizer, before anything is made; false when the AoESnapshot is gone
 */
export async function ensureTaken(
  context: SingleContext,
  snapshot: AoESnapshot,
  place: Place,
  claim: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const { uid = '', name } = snapshot.metadata;
  try {
    const examined = await examine(context, snapshot, place, signal);
    if ('verdict' in examined) return examined;
    if (!(await claim())) return undefined;
    const { volumeUID } = place;
    const held = instantOf(context.target, volumeUID, signal);
    const instant = snapshot.spec.freeze ? context.freeze.during(held, snapshot, place, signal) : held;
    return taken(await examined.take({ uid, name, volumeUID }, instant, signal));
  } catch (error) {
    signal.throwIfAborted();
    return failedBy(error);
  }
}

/** Why no snapshots are taken in a pool whose backend has none. */
export function unsupportedBy({ metadata, spec }: AoEPool): string {
  return `pool ${metadata.name} has backend ${spec.backend}, which has no snapshots in this version`;
}

/** Whether the data of a volume is being copied to another place, or its agent there has not taken it over yet. */
export function isMoving(volume: AoEVolume): boolean {
  return isCopiedAway(volume) || !isReportOfPlace(volume);
}

/** Why a snapshot of the volume cannot be taken now. */
function obstacleOf({ spec }: AoESnapshot, volume: AoEVolume | undefined, { volumeUID }: Place): Outcome | undefined {
  if (volume?.metadata.uid !== volumeUID) {
    return refused(
      'VolumeNotFound',
      `AoEVolume ${spec.volumeName} was deleted, or moved to another node, before the snapshot was taken: delete the AoESnapshot, and make another one if the volume is there`,
    );
  }
  if (volume.metadata.deletionTimestamp) return refused('VolumeDeleting', `AoEVolume ${spec.volumeName} is being deleted`);
  if (isMoving(volume)) return refused('VolumeMoving', `AoEVolume ${spec.volumeName} is being moved: the snapshot is taken after that`);
  // A copy would have the header, and nothing would say that the rest of it was never written.
  if (isAuthenticated(volume.spec) && volume.status?.luks?.state === 'Formatting')
    return refused('VolumeNotReady', `AoEVolume ${spec.volumeName} is still being written with zeros: the snapshot is taken after that`);
  return wasProvisioned(volume) ? undefined : refused('VolumeNotReady', `AoEVolume ${spec.volumeName} has no data yet`);
}

/** Refuses a snapshot that would lack what hosts wrote to the tail of its volume, until the mark of that is off. */
async function tailObstacle(
  backend: Pick<Backend, 'find'>,
  volume: AoEVolume | undefined,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const exposed = parseQuantity(volume?.status?.capacity ?? '0');
  const backing = await backend.find(volume?.metadata.uid ?? '', signal);
  if (!backing || !isTailExposed(backing, exposed)) return undefined;
  const message = `an agent of an earlier version has exported more of ${backing.name} than its mark says: the snapshot is taken once this agent has opened the data of AoEVolume ${volume?.metadata.name} and removed that mark`;
  return refused('VolumeNotReady', message, OPENED_RETRY_MS);
}
