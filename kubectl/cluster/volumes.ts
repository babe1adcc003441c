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

/** A config string that is no lock of ours, as it is in status.holder.raw: that is in one line, and escaped once already. */
export function quoted(raw: string): string {
  return `"${raw}"`;
}

/** The holder of a volume's lock as a person must name it: see {@link isNameOf}. */
export function holderName({ status: { holder } = {} }: AoEVolume): string {
  return holder ? (holder.node ?? quoted(holder.raw)) : 'nobody';
}

/** Whether a text names this node or config string: as it is, in quotes as it is shown, or as a string of JSON. */
export function isNameOf(text: string, name: string | undefined): boolean {
  return name !== undefined && [name, quoted(name), JSON.stringify(name)].includes(text);
}
