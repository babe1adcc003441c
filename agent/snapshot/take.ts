import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Backend } from '../backends/backend.ts';
import { wasProvisioned } from '../volume/observe.ts';
import { type Holder, instantOf } from './instant.ts';
import { failedBy, type Outcome, refused, taken } from './outcome.ts';
import { type Place, wasTaken } from './place.ts';

/** Another AoESnapshot of the same name may just have been deleted. */
const NAMESAKE_RETRY_MS = 5_000;

export interface TakeContext {
  pools: { get(name: string): AoEPool | undefined };
  /** The AoEVolumes of this node. */
  volumes: { get(name: string): AoEVolume | undefined };
  backendOf: (pool: AoEPool) => Backend;
  target: Holder;
}

/**
 * Looks for a snapshot, and takes it when it was never taken. Errors of backend and target are part of the outcome.
 * @param claim records the place and the finalizer, before anything is made; false when the AoESnapshot is gone
 */
export async function ensureTaken(
  { pools, volumes, backendOf, target }: TakeContext,
  snapshot: AoESnapshot,
  place: Place,
  claim: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const { uid = '', name } = snapshot.metadata;
  const pool = pools.get(place.pool);
  if (!pool) return refused('NoSuchPool', `AoEPool ${place.pool} does not exist: create it`);
  const { snapshots } = backendOf(pool);
  if (!snapshots) return refused('SnapshotsUnsupported', unsupportedBy(pool));
  try {
    const found = await snapshots.find(uid, signal);
    if (found) return taken(found);
    if (wasTaken(snapshot)) {
      const message = `the snapshot is gone from pool ${place.pool} on this node, and with it the data: bring it back, or delete the AoESnapshot`;
      return refused('SnapshotLost', message, 60_000);
    }
    const obstacle = obstacleOf(snapshot, volumes.get(snapshot.spec.volumeName), place);
    if (obstacle) return obstacle;
    const namesake = (await snapshots.list(signal)).find(({ snapshot: of }) => of === name);
    if (namesake) {
      const message = `there is data of an earlier AoESnapshot of this name, in ${namesake.name} (UID ${namesake.uid}): no other is taken while it is there. Give this one another name, or remove that one on the node. If it is just being removed, this one is taken after that`;
      return refused('OrphanOfSameName', message, NAMESAKE_RETRY_MS);
    }
    if (!(await claim())) return undefined;
    const { volumeUID } = place;
    return taken(await snapshots.take({ uid, name, volumeUID }, instantOf(target, volumeUID, signal), signal));
  } catch (error) {
    signal.throwIfAborted();
    return failedBy(error);
  }
}

/** Why no snapshots are taken in a pool whose backend has none. */
export function unsupportedBy({ metadata, spec }: AoEPool): string {
  return `pool ${metadata.name} has backend ${spec.backend}, which has no snapshots: use lvm-thin, or file on XFS or btrfs`;
}

/** Why a snapshot of the volume cannot be taken now. */
function obstacleOf({ spec }: AoESnapshot, volume: AoEVolume | undefined, { volumeUID }: Place): Outcome | undefined {
  if (volume?.metadata.uid !== volumeUID) {
    return refused('VolumeNotFound', `AoEVolume ${spec.volumeName} was deleted before the snapshot was taken: delete the AoESnapshot`);
  }
  if (volume.metadata.deletionTimestamp) return refused('VolumeDeleting', `AoEVolume ${spec.volumeName} is being deleted`);
  return wasProvisioned(volume) ? undefined : refused('VolumeNotReady', `AoEVolume ${spec.volumeName} has no data yet`);
}
