import { BackendError } from '../backend.ts';
import type { VolumeGroup } from './report.ts';

/*
 * LVM describes all volumes of a group in a text, and keeps that on its disks, in a metadata area that pvcreate makes and that cannot grow.
 * A new text is written beside the last one, in a circular buffer, so it may take half of the area (lib/format_text/format-text.c).
 * vg_mda_free is what the present text leaves of that half, on the disk where that is least. Measured with LVM 2.03.16: an area as pvcreate
 * makes it has 1,044,480 bytes, of which a text may take 521,472; a volume of ours takes about 490 of them, a snapshot of ours up to 700.
 *
 * What is there must be able to go on when nothing new fits. A removal makes the text shorter (LVM does it with 0 bytes free), and so does the
 * end of a wipe or of a copy. What makes it longer are tags: of a volume that was moved (`aoe.dev/moves=N`, 24 bytes) or that grows
 * (`aoe.dev/clean=BYTES`, at most 35), and of a snapshot that becomes whole (`aoe.dev/created=…`, `aoe.dev/reserves=…`, at most 75). If all
 * volumes of a group get both of theirs at the same time, that is an eighth of what they take: 59 of 490 bytes. So an eighth of the half is
 * kept: 65,280 bytes of the area above, which leaves room for about 930 volumes.
 */

/** An eighth of the half: so much of an area is kept. */
const RESERVED_PART = 16;

/** More than a command of ours adds to the text: a volume with the longest names, or a tag on each of many volumes. */
const BYTES_OF_CHANGE = 1024;

type Area = Pick<VolumeGroup, 'metadataSize' | 'metadataFree'>;

/**
 * Whether the metadata of a group could be nearly full after some commands, as far as its last report says. A growth in very many pieces takes
 * more than is counted here; what does not fit, LVM refuses.
 */
export function mayBeNearlyFull({ metadataSize, metadataFree }: Area, changes: number): boolean {
  return metadataFree - changes * BYTES_OF_CHANGE < reserveOf(metadataSize);
}

/**
 * Why a group takes no new volumes, and what to do; undefined while there is room for what LVM keeps about them.
 * @param begun volumes that are made at the same time: none of them is to take what is kept
 */
export function metadataProblem(group: Area & Pick<VolumeGroup, 'name'>, begun = 0): string | undefined {
  const { name, metadataSize, metadataFree } = group;
  if (!mayBeNearlyFull(group, begun)) return undefined;
  const reserve = reserveOf(metadataSize);
  const needed = begun > 0 ? `, and what is begun may take ${begun * BYTES_OF_CHANGE}` : '';
  return `the LVM metadata of volume group ${name} is nearly full: ${metadataFree} of ${metadataSize / 2} bytes are free, and ${reserve} are kept for changes of what is there${needed}. ${metadataRemedy(name)}`;
}

/** @throws BackendError PoolFull when the metadata of a group is nearly full, or would be with as many new volumes */
export function checkMetadata(group: Area & Pick<VolumeGroup, 'name'>, begun = 0): void {
  const problem = metadataProblem(group, begun);
  if (problem !== undefined) throw new BackendError('PoolFull', problem);
}

/** What to do when LVM's metadata of a group is full. */
export function metadataRemedy(group: string): string {
  return `Remove volumes or snapshots, or add a disk with a larger metadata area (pvcreate --metadatasize 64m DISK, vgextend ${group} DISK), and let the others keep none (pvchange --metadataignore y OTHERS)`;
}

function reserveOf(metadataSize: number): number {
  return Math.floor(metadataSize / RESERVED_PART);
}
