import type { Resource } from './meta.ts';
import { MiB } from './quantity.ts';
import type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase } from './schema/volume.ts';

export { ACCESS, type Access, isAccess } from './access.ts';
export type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase };

/** Nodes that a volume can be attached to at once: the most that spec.initiators holds. */
export const MAX_NODES = 64;

/** Characters of an IDENTIFY serial number, at most (ATA-6, words 10 to 19). */
const MAX_SERIAL = 20;

/** Finalizer that keeps an AoEVolume until its agent has removed the export, the lock and, unless it is retained, the data. */
export const VOLUME_FINALIZER = 'aoe.dev/backing-volume';

/**
 * Annotation with which a person breaks the lock of a volume. Its value is the holder as the person saw it: a node's name, or the
 * whole string in status.holder.raw. The lock of any other holder stays.
 */
export const BREAK_LOCK = 'aoe.dev/break-lock';

/**
 * Annotation with which a person gives up the data of a storage node that never comes back. Its value is spec.nodeName. It counts only
 * while neither the Node nor the AoENode of that name exists.
 */
export const GIVE_UP = 'aoe.dev/give-up';

/**
 * Annotation with which a person moves a volume to the node that has its disks now. Its value is NODE or NODE/POOL; without a pool, that of
 * spec.pool. It counts only once the storage node in spec.nodeName is gone, nobody uses the volume, and the agent on NODE reports the volume's
 * data in that pool.
 */
export const MOVE_TO = 'aoe.dev/move-to';

/**
 * Annotation that asks for the removal of a volume's data although a PersistentVolume names the volume. Its value is metadata.uid of
 * the AoEVolume. DeleteVolume of the CSI controller sets it, and so can a person.
 */
export const DELETE_DATA = 'aoe.dev/delete-data';

/** Begins the message of each condition of the agent that says what a deletion waits for: the operator shows such a one in Ready. */
export const DELETION_WAITS = 'deletion waits: ';

export type AoEVolume = Resource<AoEVolumeSpec, AoEVolumeStatus>;

/** Annotation with namespace and name of the PersistentVolumeClaim for which a volume was made: `NAMESPACE/NAME`. The CSI controller sets it. */
export const CLAIM = 'aoe.dev/claim';

/** The claim for which a volume was made; undefined when it was not made for one. */
export function claimNameOf({ metadata }: Pick<AoEVolume, 'metadata'>): { namespace: string; name: string } | undefined {
  const [namespace, name] = metadata.annotations?.[CLAIM]?.split('/') ?? [];
  return namespace && name ? { namespace, name } : undefined;
}

/** Condition types of an AoEVolume. Each has one writer, named here. */
export const VolumeCondition = {
  /** operator: node, address and capacity are reserved. */
  Placed: 'Placed',
  /** agent: the backing volume exists. */
  Provisioned: 'Provisioned',
  /** agent: the target answers at the address. */
  Exported: 'Exported',
  /** agent: another target answers at the address. */
  AddressConflict: 'AddressConflict',
  /** agent, or the operator for external targets: the target itself refuses hosts that are not admitted. */
  EnforcedByTarget: 'EnforcedByTarget',
  /** agent, or the operator for external targets: a host has the lock; the message says which, and since when. */
  Locked: 'Locked',
  /** operator: room is reserved for the spec.capacity that has grown, and the volume has it. Absent while it was never asked to grow. */
  Grown: 'Grown',
  /** operator: the summary of the others. */
  Ready: 'Ready',
} as const;

/**
 * Serial number that the volume's disk must report; undefined while it is not known. That of an external target is the one in the spec. That
 * of a volume that was moved is calculated: the status may still have the one from before the move.
 */
export function serialOf({ metadata, spec, status }: Pick<AoEVolume, 'metadata' | 'spec' | 'status'>): string | undefined {
  if (spec.external?.serial !== undefined) return spec.external.serial;
  return metadata.uid !== undefined && movesOf({ spec }) > 0 ? serialNumber(metadata.uid, movesOf({ spec })) : status?.serial;
}

/**
 * The IDENTIFY serial number of a volume of ours: the first 20 hexadecimal digits of its UID. After a move the last of them are replaced by
 * `-` and the number of moves, so that the disk at the new place cannot be taken for the one at an earlier place.
 */
export function serialNumber(uid: string, moves: number): string {
  const suffix = moves > 0 ? `-${moves}` : '';
  return `${uid
    .replaceAll('-', '')
    .slice(0, MAX_SERIAL - suffix.length)
    .toUpperCase()}${suffix}`;
}

/** How often the volume was moved to another place. */
export function movesOf({ spec }: Pick<AoEVolume, 'spec'>): number {
  return spec.moves ?? 0;
}

/** Whether the agent's part of the status is about the place that the spec names: after a move it is that of the earlier place at first. */
export function isReportOfPlace({ spec, status }: Pick<AoEVolume, 'spec' | 'status'>): boolean {
  return (status?.moves ?? 0) === movesOf({ spec });
}

/** How the data of a volume can be encrypted: on the node that uses it, so that neither segment nor storage node sees plain text. */
export const ENCRYPTION = ['LUKS2'] as const;

export type Encryption = (typeof ENCRYPTION)[number];

export function isEncryption(text: unknown): text is Encryption {
  return (ENCRYPTION as readonly unknown[]).includes(text);
}

/**
 * Bytes that the LUKS2 header takes at the start of a disk. The data begins there, whatever the default of cryptsetup is: the same number is
 * in every size that is calculated.
 */
export const LUKS_HEADER_BYTES = 16 * MiB;

/** The unit in which a disk is encrypted, in bytes. The size of the disk must be a multiple of it. */
export const LUKS_SECTOR_BYTES = 4096;

/** Bytes of a disk that its user does not get. */
export function overheadOf({ encryption }: { readonly encryption?: Encryption | undefined }): number {
  return encryption === undefined ? 0 : LUKS_HEADER_BYTES;
}
