import { BackendError, roundUp, TAIL_BYTES } from '../backend.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import { bytesTag, TAG_CLEAN, TAG_EXPORTED, TAG_TAIL, tagged, tagsOf } from './tags.ts';

/**
 * The part of a volume from its start that may be exported: what TAG_EXPORTED says. One without a tail: all of it, unless it is growing. 0
 * when the tag cannot be read.
 */
export function exportedBytes(volume: LogicalVolume): number {
  return bytesTag(volume, TAG_EXPORTED) ?? bytesTag(volume, TAG_CLEAN) ?? volume.bytes;
}

/** Bytes of a volume's tail; 0 when it has none, and while it has no room for the one that its tags say. */
export function tailBytes(volume: LogicalVolume): number {
  const tail = notedTail(volume);
  return exportedBytes(volume) + tail <= volume.bytes ? tail : 0;
}

/** Bytes of the tail that a volume is to have by its tags, also when it was made of a snapshot, and is still as small as that. */
export function notedTail(volume: LogicalVolume): number {
  const tail = tagged(volume, TAG_EXPORTED) === undefined ? 0 : Number(tagged(volume, TAG_TAIL) ?? 0);
  return Number.isSafeInteger(tail) && tail > 0 ? tail : 0;
}

/** The tags of a volume with a tail. */
export function tailTags({ exported, tail }: { exported: number; tail: number }): string[] {
  return [`${TAG_EXPORTED}${exported}`, `${TAG_TAIL}${tail}`];
}

/** Whether something of a volume is to be zeroed before it may be exported, or before its tail may be used. */
export function isUnclean(volume: LogicalVolume): boolean {
  return tagged(volume, TAG_CLEAN) !== undefined || exportedBytes(volume) < volume.bytes - tailBytes(volume);
}

/**
 * The tags to take off a volume that is given back: nothing is in its tail, so it is an ordinary logical volume of its full size then. None
 * where it may hold old data behind what was exported: whoever adopts it must know.
 */
export function tagsOfEmptyTail(volume: LogicalVolume): string[] {
  return isUnclean(volume) ? [] : tagsOfTail(volume);
}

/** The tags without which a volume has no tail. */
export function tagsOfTail(volume: LogicalVolume): string[] {
  return [...tagsOf(volume, TAG_EXPORTED), ...tagsOf(volume, TAG_TAIL)];
}

/** The change of tags with which all of a volume but its tail may be exported, and that tail is clean. */
export function tagsOfGrown(volume: LogicalVolume): { on: string[]; off: string[] } {
  const exported = tagsOf(volume, TAG_EXPORTED);
  const on = exported.map(() => `${TAG_EXPORTED}${volume.bytes - tailBytes(volume)}`);
  return { on, off: [...tagsOf(volume, TAG_CLEAN), ...exported].filter((tag) => !on.includes(tag)) };
}

/** The error for a volume whose {@link exportedBytes} are 0. */
export function unreadable(volume: LogicalVolume, path: string): BackendError {
  const tag = tagged(volume, TAG_EXPORTED) === undefined ? TAG_CLEAN : TAG_EXPORTED;
  const message = `tag ${tag}… of logical volume ${path} is not the size of a part of it: set it to the size that the volume had before it grew`;
  return new BackendError('BackendFailed', message);
}

/** The bytes from the start that a growth must not zero: what may be exported, and what it has zeroed so far. */
export function cleanBytes(volume: LogicalVolume): number {
  return Math.max(exportedBytes(volume), bytesTag(volume, TAG_CLEAN) ?? 0);
}

/** Bytes of the tail of a new volume: whole extents. */
export function tailFor({ extent }: Pick<VolumeGroup, 'extent'>): number {
  return roundUp(TAIL_BYTES, extent);
}
