import { checkUid } from '../backend.ts';
import type { LogicalVolume } from './report.ts';

/** On every logical volume of ours. */
export const TAG = 'aoe.dev';
/** Made, but it may still hold another volume's old data: it is wiped before its first export, however often we crash before that. */
export const TAG_NEW = 'aoe.dev/new';
/** Name of the AoEVolume. */
export const TAG_VOLUME = 'aoe.dev/volume=';
/** Name of the AoEPool. */
export const TAG_POOL = 'aoe.dev/pool=';
/** How far a volume was wiped; absent when all of it was zeroed. */
export const TAG_WIPED = 'aoe.dev/wiped=';
/** While a new volume is zeroed: this many bytes from its start are zeros on stable storage. */
export const TAG_ZEROED = 'aoe.dev/zeroed=';
/**
 * While a volume grows: what lies behind this many bytes may still be another volume's old data. Until that is wiped and the tag is taken
 * off, the volume has only these bytes.
 */
export const TAG_CLEAN = 'aoe.dev/clean=';
/** How often the AoEVolume had been moved when the volume was served here; absent for 0. */
export const TAG_MOVES = 'aoe.dev/moves=';
/** Data is copied into the volume, and is not known to be whole. */
export const TAG_COPY = 'aoe.dev/copy=';
/** On an adopted volume: the name that it had before, and gets back. */
export const TAG_ADOPTED = 'aoe.dev/adopted=';
/** On an adopted volume: UID of the AoEVolume, since the name may still be the old one. */
export const TAG_ADOPTER = 'aoe.dev/adopter=';
/** Its adoption is not finished: it may be in use, and is not exported. */
export const TAG_ADOPTING = 'aoe.dev/adopting';
/** On a volume with a tail: this many bytes from its start may be exported, whatever its size is. */
export const TAG_EXPORTED = 'aoe.dev/exported=';
/** On a volume with a tail: the bytes of it. */
export const TAG_TAIL = 'aoe.dev/tail=';
export const TAG_RETAINED = 'aoe.dev/retained';
export const PREFIX = 'aoe-';

/** Prefix of a tag that ends with a number of bytes from the start of its volume. */
export type BytesPrefix = typeof TAG_ZEROED | typeof TAG_CLEAN | typeof TAG_EXPORTED;

/** The name of a volume's logical volume. @throws RangeError */
export function nameOf(uid: string): string {
  return `${PREFIX}${checkUid(uid)}`;
}

/** UID of the AoEVolume in the name of a logical volume of ours. */
export function uidOf({ name }: Pick<LogicalVolume, 'name'>): string {
  return name.slice(PREFIX.length);
}

/** The tags that begin so. */
export function tagsOf({ tags }: Pick<LogicalVolume, 'tags'>, prefix: string): string[] {
  return tags.filter((tag) => tag.startsWith(prefix));
}

/** What follows the prefix in the first tag that begins so; undefined when there is none. */
export function tagged(volume: Pick<LogicalVolume, 'tags'>, prefix: string): string | undefined {
  return tagsOf(volume, prefix)[0]?.slice(prefix.length);
}

/** The number of bytes in the tag with this prefix: 0 when it is no number, or not within the volume; undefined without such a tag. */
export function bytesTag(volume: LogicalVolume, prefix: BytesPrefix): number | undefined {
  const text = tagged(volume, prefix);
  if (text === undefined) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= 0 && value <= volume.bytes ? value : 0;
}
