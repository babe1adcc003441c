import type { AoEVolumeStatus } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Content } from '../contracts.ts';

/** What decides whether a disk is mounted as it is, formatted, or left alone. */
export interface DiskFacts {
  /** How messages name the disk: `volume data-1 (e7.3)`. */
  readonly name: string;
  readonly content: Content;
  /** The first and the last MiB are zeros. It matters only when no signature was found. */
  readonly blank: boolean;
  /** What the node plugin recorded about an earlier format. */
  readonly recorded: AoEVolumeStatus['filesystem'];
  /** The volume had data from its beginning, or its disk may be another one each time: it is never formatted. */
  readonly restored: boolean;
  /** Type of the requested file system, or `crypto_LUKS`. */
  readonly wanted: string;
  /** How messages name what is looked for; default: file system. */
  readonly what?: string;
  /** This node may not write. */
  readonly readOnly: boolean;
  /** This node has the lock, so no other host can be writing. */
  readonly locked: boolean;
}

/**
 * Decides whether to mount a disk as it is or to format it first. A disk is formatted only when it has no signature, and is known either
 * to be empty or to be the rest of a format of ours that did not finish: mkfs writes the signature last.
 * @throws RpcError FAILED_PRECONDITION when the disk may be neither mounted nor formatted
 */
export function mountOrFormat({
  name,
  content,
  blank,
  recorded,
  restored,
  wanted,
  what = 'file system',
  readOnly,
  locked,
}: DiskFacts): 'mount' | 'format' {
  const unfinished = recorded?.state === 'Formatting' && recorded.type === wanted && locked && !readOnly;
  const refuse = (message: string): never => {
    throw new RpcError(Code.FAILED_PRECONDITION, `${name}: ${message}`);
  };
  switch (content.kind) {
    case 'found':
      if (content.type === wanted) return 'mount';
      return refuse(`the disk holds ${content.type}, but ${wanted} was requested; it is neither mounted nor formatted`);
    case 'ambivalent':
      return refuse(`the disk holds contradicting signatures (${content.detail}); it is neither mounted nor formatted`);
    case 'nothing':
      if (restored) {
        return refuse(
          `the volume began with the data of a snapshot or of another volume, or with adopted data, or is served by changing machines, and no ${what} is found on the disk; it is not formatted. If its source was never mounted, use an empty volume instead`,
        );
      }
      if (unfinished) return 'format';
      if (!blank)
        return refuse(
          `the disk holds data that is no known ${what}; it is not formatted. If the data is not needed, wipe the disk by hand`,
        );
      if (recorded?.state === 'Formatted') {
        return refuse(
          `the volume was formatted with ${recorded.type} before, but the disk is empty: data was lost, or this is another disk; it is not formatted again`,
        );
      }
      if (readOnly) return refuse('the disk is empty, and a read-only volume is not formatted');
      if (!locked)
        return refuse('the disk is empty, and only a node that has the lock formats a disk: it is not formatted without the lock');
      return 'format';
  }
}
