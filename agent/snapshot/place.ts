import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, type Encryption, VOLUME_FINALIZER } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';

/** Where a snapshot is, or is to be taken. */
export interface Place {
  pool: string;
  /** metadata.uid of its AoEVolume. */
  volumeUID: string;
  /** spec.encryption of its AoEVolume; absent without. */
  encryption?: Encryption;
  /** Whether the status has it. */
  isRecorded: boolean;
}

/**
 * The place of a snapshot on this node; undefined when it is on another one, or when it is not known which. It is this node only once the operator has
 * said so: the API server lets no other agent have it.
 * @param volumes the AoEVolumes of this node
 */
export function placeOf({ spec, status }: AoESnapshot, volumes: Pick<Store<AoEVolume>, 'get'>, node: string): Place | undefined {
  if (status?.nodeName !== undefined) {
    if (status.nodeName !== node) return undefined;
    return { pool: status.pool ?? '', volumeUID: status.volumeUID ?? '', ...encryptionOf(status), isRecorded: true };
  }
  if (status?.assignedNode !== node) return undefined;
  const volume = volumes.get(spec.volumeName);
  if (!volume || volume.spec.nodeName !== node || !volume.metadata.finalizers?.includes(VOLUME_FINALIZER)) return undefined;
  const { uid = '' } = volume.metadata;
  if (spec.volumeUID !== undefined && spec.volumeUID !== uid) return undefined;
  return { pool: volume.spec.pool ?? '', volumeUID: uid, ...encryptionOf(volume.spec), isRecorded: false };
}

function encryptionOf({ encryption }: { encryption?: Encryption | undefined }): Pick<Place, 'encryption'> {
  return encryption === undefined ? {} : { encryption };
}

/** Whether the snapshot was whole at some time. From then on it is looked for, and never taken again. */
export function wasTaken({ status }: Pick<AoESnapshot, 'status'>): boolean {
  return status?.createdAt !== undefined;
}

/** The snapshots that were taken in a pool on a node. */
export function takenSnapshots(snapshots: readonly AoESnapshot[], { pool, node }: { pool: string; node: string }): AoESnapshot[] {
  return snapshots.filter((snapshot) => snapshot.status?.nodeName === node && snapshot.status.pool === pool && wasTaken(snapshot));
}
