import { BackendError } from '../backend.ts';
import type { FileSystem } from './file-system.ts';

/**
 * Refuses to begin a pool on the file system below a mount point whose disk is not mounted: volumes would fill the node's own
 * disk, and would be hidden as soon as theirs is mounted. A directory made by the administrator says that it is meant.
 * @param exists whether something is there
 * @throws BackendError
 */
export async function checkMounted(
  fs: Pick<FileSystem, 'isMountPoint'>,
  directory: string,
  mountPoint: string | undefined,
  exists: (path: string) => Promise<boolean>,
): Promise<void> {
  if (mountPoint === undefined || (await fs.isMountPoint(mountPoint))) return;
  const below = directory !== mountPoint;
  if (below && (await exists(directory))) return;
  const otherwise = below ? `make ${directory} on the node` : `give the pool a directory below ${mountPoint} that you make on the node`;
  throw new BackendError(
    'PoolMissing',
    `no disk is mounted at ${mountPoint} on this node: mount it, or, to keep volumes on the file system that is there, ${otherwise}`,
  );
}
