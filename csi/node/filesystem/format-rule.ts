import type { AoEVolumeStatus } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Content } from '../contracts.ts';

/** All that counts for the question whether a disk is mounted as it is, formatted, or left alone. */
export interface DiskFacts {
  /** How messages name the disk: `volume data-1 (e7.3)`. */
  readonly name: string;
  readonly content: Content;
  /** First and last MiB are zeros. Only asked for when nothing was found. */
  readonly blank: boolean;
  /** What the node plugin recorded about an earlier format. */
  readonly recorded: AoEVolumeStatus['filesystem'];
  /** File system that is asked for. */
  readonly wanted: string;
  /** Nobody may write: the volume is for reading only. */
  readonly readOnly: boolean;
  /** The lock is ours, so no other host can be writing. */
  readonly locked: boolean;
}

/**
 * Whether to mount a disk as it is or to format it first. Only a disk without a signature is formatted, that is known to be
 * empty, or to be what an unfinished format of ours left: mkfs writes the signature last.
 * @throws RpcError FAILED_PRECONDITION when it may do neither
 */
export function mountOrFormat({ name, content, blank, recorded, wanted, readOnly, locked }: DiskFacts): 'mount' | 'format' {
  const unfinished = recorded?.state === 'Formatting' && recorded.type === wanted && locked && !readOnly;
  const refuse = (message: string): never => {
    throw new RpcError(Code.FAILED_PRECONDITION, `${name}: ${message}`);
  };
  switch (content.kind) {
    case 'found':
      if (content.type === wanted) return 'mount';
      return refuse(`the disk holds ${content.type}, but ${wanted} was asked for; it is neither mounted nor formatted`);
    case 'ambivalent':
      return refuse(`the disk holds contradicting signatures (${content.detail}); it is neither mounted nor formatted`);
    case 'nothing':
      if (unfinished) return 'format';
      if (!blank)
        return refuse('the disk holds data that is no known file system; it is not formatted. Wipe it by hand if it is not needed');
      if (recorded?.state === 'Formatted') {
        return refuse(
          `it was formatted with ${recorded.type} before, but the disk is empty: data was lost, or this is another disk; it is not formatted again`,
        );
      }
      if (readOnly) return refuse('the disk is empty, and a read-only volume is not formatted');
      if (!locked) return refuse('the disk is empty, and is not formatted without the lock');
      return 'format';
  }
}
