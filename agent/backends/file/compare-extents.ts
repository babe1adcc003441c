import { type Range, RangeJoiner } from '../blocks.ts';

/** Data of a file in one place of the disk. */
export interface Extent {
  /** Bytes from the beginning of the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Bytes from the beginning of the disk; absent where that does not say which data it is. */
  readonly physical?: number;
}

/** A part of a file: what is outside of the extents and before `end` reads as zeros. */
export interface Mapping {
  /** In ascending order, without overlap. */
  readonly extents: readonly Extent[];
  /** Where what is known ends, in bytes from the beginning of the file; Infinity when it is all of the file. */
  readonly end: number;
}

/**
 * The parts of two files, of which neither is written, that may differ between two offsets. Data in the same place of the disk is the same
 * data; zeros are the same on both sides. Anything else may differ.
 */
export function differences(base: readonly Extent[], target: readonly Extent[], from: number, to: number): Range[] {
  const joiner = new RangeJoiner();
  const found: Range[] = [];
  const [a, b] = [new Cursor(base), new Cursor(target)];
  for (let at = from; at < to; ) {
    const [here, there] = [a.at(at), b.at(at)];
    const end = Math.min(here.end, there.end, to);
    if (here.place !== there.place || here.place === UNKNOWN) found.push(...joiner.add({ offset: at, bytes: end - at }));
    at = end;
  }
  return [...found, ...joiner.end()];
}

/** The parts of a file between two offsets that hold data. */
export function written(extents: readonly Extent[], from: number, to: number): Range[] {
  return differences([], extents, from, to);
}

const ZEROS = 'zeros';
const UNKNOWN = 'unknown';

/** Goes through extents from the first to the last. */
class Cursor {
  readonly #extents: readonly Extent[];
  #next = 0;

  constructor(extents: readonly Extent[]) {
    this.#extents = extents;
  }

  /** What is at an offset, which never decreases: the place on the disk, minus the offset, is the same up to `end`. */
  at(offset: number): { place: number | typeof ZEROS | typeof UNKNOWN; end: number } {
    for (;;) {
      const extent = this.#extents[this.#next];
      if (!extent) return { place: ZEROS, end: Number.POSITIVE_INFINITY };
      const end = extent.offset + extent.bytes;
      if (end <= offset) {
        this.#next++;
        continue;
      }
      if (extent.offset > offset) return { place: ZEROS, end: extent.offset };
      return { place: extent.physical === undefined ? UNKNOWN : extent.physical - extent.offset, end };
    }
  }
}
