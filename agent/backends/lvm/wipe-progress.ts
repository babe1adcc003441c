import type { LvmGroup } from './group.ts';
import type { LogicalVolume } from './report.ts';
import { type BytesPrefix, bytesTag, tagsOf } from './tags.ts';

/** Bytes that are zeroed before TAG_ZEROED or TAG_CLEAN is updated. */
const NOTE_EVERY = 32 * 1024 ** 3;

export interface ProgressNote {
  group: Pick<LvmGroup, 'mark'>;
  volume: LogicalVolume;
  /** The tag that says how far it is zeroed. */
  prefix: BytesPrefix;
  signal: AbortSignal;
}

/**
 * Notes in a tag of a volume how far it is zeroed: from time to time, and where zeroing fails, so that the next attempt goes on there. Then
 * each attempt that zeroes something brings the end nearer.
 * @param zero calls its argument with the offset up to which all bytes are zeros on stable storage
 * @returns the volume with its tags
 */
export async function notingProgress<R>(
  { group, volume, prefix, signal }: ProgressNote,
  zero: (onZeroed: (end: number) => Promise<void>) => Promise<R>,
): Promise<{ volume: LogicalVolume; result: R }> {
  let noted = volume;
  let zeroed = bytesTag(volume, prefix) ?? 0;
  const note = async (leastBytes: number): Promise<void> => {
    const isDue = zeroed < volume.bytes && zeroed - (bytesTag(noted, prefix) ?? 0) >= leastBytes;
    if (isDue) noted = await noteBytes(group, noted, { prefix, bytes: zeroed }, signal);
  };
  try {
    const result = await zero(async (end) => {
      zeroed = end;
      await note(NOTE_EVERY);
    });
    return { volume: noted, result };
  } catch (error) {
    // What went wrong counts; without the note, the next attempt only takes longer.
    if (!signal.aborted) await note(1).catch(() => {});
    throw error;
  }
}

/** Writes the tag with this prefix; bytes `undefined` removes it: all bytes are clean. */
export async function noteBytes(
  group: Pick<LvmGroup, 'mark'>,
  volume: LogicalVolume,
  { prefix, bytes }: { prefix: BytesPrefix; bytes: number | undefined },
  signal: AbortSignal,
): Promise<LogicalVolume> {
  const off = tagsOf(volume, prefix);
  const on = bytes === undefined ? [] : [`${prefix}${bytes}`];
  return off.join() === on.join() ? volume : await group.mark({ volume, off, on }, signal);
}
