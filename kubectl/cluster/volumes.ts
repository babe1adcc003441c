import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { PersistentVolume } from './objects.ts';

/** Set on an AoEVolume by the CSI controller: namespace and name of the claim for which it was made. */
const CLAIM = 'aoe.dev/claim';

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
  const [claimNamespace, claimName] = volume.metadata.annotations?.[CLAIM]?.split('/') ?? [];
  return claimNamespace && claimName ? { namespace: claimNamespace, name: claimName } : undefined;
}

export function claimText(claim: ClaimName | undefined): string {
  return claim === undefined ? '' : `${claim.namespace}/${claim.name}`;
}
