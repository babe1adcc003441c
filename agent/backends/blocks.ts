/** A part of a snapshot's data, in bytes. */
export interface Range {
  readonly offset: number;
  /** More than 0. */
  readonly bytes: number;
}

/** Ranges in ascending order that do not overlap, a few at a time. They may go beyond the end of the snapshot. */
export type Ranges = AsyncIterable<readonly Range[]>;

/**
 * A capability of snapshots: the backend knows which blocks hold data, and which differ. What it says may be more than what was written
 * (whole blocks), and is never less. When the iteration ends early, all that was begun for it is ended, too.
 */
export interface Blocks {
  /**
   * What was written of a snapshot: all of the rest reads as zeros.
   * @param from ranges that end before this byte may be left out
   * @throws BackendError, while it is iterated over; SnapshotLost when the snapshot is not there
   */
  allocated(uid: string, from: number, signal: AbortSignal): Ranges;
  /**
   * What may differ between two snapshots of one volume. When the second is larger, what is behind the end of the first counts as zeros in it.
   * @throws BackendError, while it is iterated over; SnapshotLost when one of the snapshots is not there
   */
  changed(baseUID: string, uid: string, from: number, signal: AbortSignal): Ranges;
  /** Ends what a crash of this program has left. @throws BackendError */
  recover?(signal: AbortSignal): Promise<void>;
}

/** Joins ranges that touch, across calls: what {@link add} returns is complete. They must come in ascending order. */
export class RangeJoiner {
  #last: Range | undefined;

  /** @throws RangeError when the range is empty, or not behind the one before */
  add({ offset, bytes }: Range): Range[] {
    const last = this.#last;
    const end = last ? last.offset + last.bytes : 0;
    if (!(bytes > 0) || !Number.isSafeInteger(offset + bytes) || offset < end) {
      throw new RangeError(`a range of ${bytes} bytes at ${offset} cannot follow one that ends at ${end}`);
    }
    if (last && offset === end) {
      this.#last = { offset: last.offset, bytes: last.bytes + bytes };
      return [];
    }
    this.#last = { offset, bytes };
    return last ? [last] : [];
  }

  /** The last range, which nothing follows. */
  end(): Range[] {
    const last = this.#last;
    this.#last = undefined;
    return last ? [last] : [];
  }
}
