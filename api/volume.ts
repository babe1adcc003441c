import type { Resource } from './meta.ts';
import type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase } from './schema/volume.ts';

export { ACCESS, type Access, isAccess } from './access.ts';
export type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase };

/** Finalizer that keeps an AoEVolume until its agent has removed export, lock and (unless retained) data. */
export const VOLUME_FINALIZER = 'aoe.dev/backing-volume';

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
  /** operator: the sum of the others. */
  Ready: 'Ready',
} as const;
