import type { FileSystemFreeze } from '../snapshot/freeze.ts';

/** For tests without spec.freeze. */
export const NO_FREEZE: Pick<FileSystemFreeze, 'during'> = {
  during: () => {
    throw new Error('no file system can be frozen in this test');
  },
};
