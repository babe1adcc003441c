import { DRIVER_NAME } from '../../api/meta.ts';
import { type AoEVolume, claimNameOf as claimOfVolume } from '../../api/volume.ts';
import type { PersistentVolume } from './objects.ts';

/** Name of the AoEVolume of a PersistentVolume; undefined when that is of another driver. */
export function handleOf({ spec }: PersistentVolume): string | undefined {
  return spec.csi?.driver === DRIVER_NAME ? spec.csi.volumeHandle : undefined;
}

/** PersistentVolumes by the AoEVolume that they name. */
export function byVolume(persistentVolumes: readonly PersistentVolume[] | undefined): Map<string, PersistentVolume> {
  return new Map((persistentVolumes ?? []).flatMap((each) => [[handleOf(each), each] as const]).filter(isNamed));
}

function isNamed(entry: readonly [string | undefined, PersistentVolume]): entry is readonly [string, PersistentVolume] {
  return entry[0] !== undefined;
}

export interface ClaimName {
  readonly namespace: string;
  readonly name: string;
}

/** The claim of a volume: as its PersistentVolume says, else as the volume itself does. */
export function claimNameOf(volume: AoEVolume, persistentVolume: PersistentVolume | undefined): ClaimName | undefined {
  const { namespace, name } = persistentVolume?.spec.claimRef ?? {};
  if (namespace !== undefined && name !== undefined) return { namespace, name };
  return claimOfVolume(volume);
}

export function claimText(claim: ClaimName | undefined): string {
  return claim === undefined ? '' : `${claim.namespace}/${claim.name}`;
}
