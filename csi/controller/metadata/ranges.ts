import { csi, int64 } from '../../../rpc/mod.ts';

/** A part of a disk, in bytes. */
export interface Range {
  readonly offset: number;
  readonly bytes: number;
}

/** As the caller of CSI sees a snapshot. */
export interface View {
  /** Bytes at the beginning of the disk that its user does not see, as the header of an encrypted one. */
  readonly hidden: number;
  /** Bytes that the user sees. */
  readonly bytes: number;
  /** The first byte that is asked for. */
  readonly from: number;
  /** Ranges in a message; 0: as many as are good. */
  readonly maxResults: number;
}

/** Ranges in a message when the caller does not say, and at most. */
const MOST_RESULTS = 1_000;

/** A message of GetMetadataAllocated and GetMetadataDelta: both have the same fields. */
export interface Message {
  readonly blockMetadataType: csi.v1.BlockMetadataType;
  readonly volumeCapacityBytes: ReturnType<typeof int64>;
  readonly blockMetadata: csi.v1.IBlockMetadata[];
}

/**
 * The messages that name these ranges of a disk: in bytes of its user, cut to what is asked for. There is one at least, so that the
 * caller learns the size.
 */
export async function* messages(
  ranges: AsyncIterable<readonly Range[]> | Iterable<readonly Range[]>,
  { hidden, bytes, from, maxResults }: View,
): AsyncGenerator<Message, void, undefined> {
  const most = maxResults > 0 ? Math.min(maxResults, MOST_RESULTS) : MOST_RESULTS;
  const message = (blocks: csi.v1.IBlockMetadata[]): Message => ({
    blockMetadataType: csi.v1.BlockMetadataType.VARIABLE_LENGTH,
    volumeCapacityBytes: int64(bytes),
    blockMetadata: blocks,
  });
  let blocks: csi.v1.IBlockMetadata[] = [];
  let isEmpty = true;
  for await (const some of ranges) {
    for (const range of some) {
      const start = Math.max(range.offset - hidden, from, 0);
      const end = Math.min(range.offset - hidden + range.bytes, bytes);
      if (end <= start) continue;
      blocks.push({ byteOffset: int64(start), sizeBytes: int64(end - start) });
      if (blocks.length < most) continue;
      yield message(blocks);
      isEmpty = false;
      blocks = [];
    }
  }
  if (blocks.length > 0 || isEmpty) yield message(blocks);
}
