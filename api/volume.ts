import type { Resource } from './meta.ts';
import type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase } from './schema/volume.ts';

export { ACCESS, type Access, isAccess } from './access.ts';
export type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase };

/** Nodes that a volume can be attached to at once: the most that spec.initiators holds. */
export const MAX_NODES = 64;

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
 * Annotation that asks for the removal of a volume's data although a PersistentVolume names the volume. Its value is metadata.uid of
 * the AoEVolume. DeleteVolume of the CSI controller sets it, and so can a person.
 */
export const DELETE_DATA = 'aoe.dev/delete-data';

/** Begins the message of each condition of the agent that says what a deletion waits for: the operator shows such a one in Ready. */
export const DELETION_WAITS = 'deletion waits: ';

export type AoEVolume = Resource<AoEVolumeSpec, AoEVolumeStatus>;

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

/** Serial number that the volume's disk must report; undefined while it is not known. That of an external target is the one in the spec. */
export function serialOf({ spec, status }: Pick<AoEVolume, 'spec' | 'status'>): string | undefined {
  return spec.external?.serial ?? status?.serial;
}
