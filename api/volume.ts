import type { Resource } from './meta.ts';
import type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase } from './schema/volume.ts';

export { ACCESS, type Access, isAccess } from './access.ts';
export type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase };

/** Finalizer that keeps an AoEVolume until its agent has removed export, lock and (unless retained) data. */
export const VOLUME_FINALIZER = 'aoe.dev/backing-volume';

/**
 * Annotation by which a person breaks the lock of a volume. Its value is the holder as they saw it, a node's name or the whole
 * string of status.holder.raw: another's lock is left alone.
 */
export const BREAK_LOCK = 'aoe.dev/break-lock';

export type AoEVolume = Resource<AoEVolumeSpec, AoEVolumeStatus>;

/** Condition types of an AoEVolume. Each has one writer, named here. */
export const VolumeCondition = {
  /** operator: node, address and capacity are reserved. */
  Placed: 'Placed',
  /** agent: the backing volume exists. */
  Provisioned: 'Provisioned',
  /** agent: the target answers at the address. */
  Exported: 'Exported',
  /** agent: somebody else answers at the address, so it is not exported. */
  AddressConflict: 'AddressConflict',
  /** agent, or the operator for external targets: the target itself refuses hosts that are not in force. */
  EnforcedByTarget: 'EnforcedByTarget',
  /** agent, or the operator for external targets: somebody has the lock; the message says who, and since when. */
  Locked: 'Locked',
  /** operator: the sum of the others. */
  Ready: 'Ready',
} as const;
