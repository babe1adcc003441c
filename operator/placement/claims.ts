import type { Address } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import { type AoEVolume, externalSource, movesOf, serialNumber, serialOf, VolumeCondition } from '../../api/volume.ts';
import { addressKey, addressOf } from './address-range.ts';
import type { Refused } from './placement.ts';

/**
 * Which of two volumes that claim one address (or serial number) owns it. First the one that is known to be placed, since a spec
 * can be copied from another volume and a status cannot; then one that looks placed; then the older; then the first by name.
 */
function hasPrecedence(a: AoEVolume, b: AoEVolume): boolean {
  const placed = (volume: AoEVolume): number => {
    if (!volume.spec.external && !isPlaced(volume)) return 2;
    return volume.status?.conditions?.some(({ type, status }) => type === VolumeCondition.Placed && status === 'True') ? 0 : 1;
  };
  const rank = (volume: AoEVolume): string => `${placed(volume)} ${volume.metadata.creationTimestamp ?? ''} ${volume.metadata.name}`;
  return rank(a) < rank(b);
}

function owner(volume: AoEVolume, volumes: readonly AoEVolume[], claim: (volume: AoEVolume) => string | undefined): AoEVolume | undefined {
  const claimed = claim(volume);
  if (claimed === undefined) return undefined;
  return volumes.find((other) => other.metadata.name !== volume.metadata.name && claim(other) === claimed && hasPrecedence(other, volume));
}

const claimedAddress = ({ spec }: AoEVolume): string | undefined => {
  const address = addressOf(spec);
  return address && addressKey(address);
};

/** The serial number of one of ours follows from its UID. What an agent reports does not count: it could take the disk of an external volume away. */
const claimedSerial = (volume: AoEVolume): string | undefined => {
  const { metadata, spec } = volume;
  return spec.external ? serialOf(volume) : metadata.uid && serialNumber(metadata.uid, movesOf(volume));
};

/** The key of an address among those of {@link claimsOf}. */
export function addressClaim(address: Address): string {
  return `address ${addressKey(address)}`;
}

/**
 * What a volume claims for itself, as keys of an index: its address and its serial number, and two addresses that are to be given to no other
 * volume: the one from which it is copied, and the one at the earlier place of a move, where its target may still serve it.
 */
export function claimsOf(volume: AoEVolume): string[] {
  const serial = claimedSerial(volume);
  const others = [externalSource(volume), volume.spec.move?.address];
  const addresses = new Set([addressOf(volume.spec), ...others].flatMap((each) => (each ? [addressClaim(each)] : [])));
  return [...addresses, ...(serial === undefined ? [] : [`serial ${serial}`])];
}

/** The other volume that owns the address which this one claims; undefined when this one owns it, or claims none. */
export function addressOwner(volume: AoEVolume, volumes: readonly AoEVolume[]): AoEVolume | undefined {
  return owner(volume, volumes, claimedAddress);
}

/** The other volume that owns the serial number of this one's disk: the two disks cannot be told apart. */
function serialOwner(volume: AoEVolume, volumes: readonly AoEVolume[]): AoEVolume | undefined {
  return owner(volume, volumes, claimedSerial);
}

/**
 * Why a volume cannot have the place in its spec, although that was chosen already: the spec may have been copied from another
 * volume, or names the external target of another.
 * @param volumes all that share a claim with it, at least
 */
export function conflictingClaim(volume: AoEVolume, volumes: readonly AoEVolume[]): Refused | undefined {
  const address = addressOwner(volume, volumes);
  if (address) return { refused: 'AddressTaken', message: `AoEVolume ${address.metadata.name} has that address` };
  const serial = volume.spec.external && serialOwner(volume, volumes);
  if (!serial) return undefined;
  const message = `AoEVolume ${serial.metadata.name} has the same serial number: correct spec.external, since disks that cannot be told apart are not attached`;
  return { refused: 'SerialTaken', message };
}
