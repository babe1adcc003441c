import { join } from 'node:path';
import { messageOf } from '../../../kube/mod.ts';
import { BackendError } from '../backend.ts';
import { type FileSystem, failed, hasCode } from './file-system.ts';
import { checkMounted } from './mounted.ts';
import { MARKER } from './space.ts';

export interface DirectoryOptions {
  /** Name of the AoEPool. */
  pool: string;
  directory: string;
  /** Directory where a disk is to be mounted, which has this one. */
  mountPoint: string | undefined;
  /** Whether volumes or snapshots were made there. */
  isUsed: () => boolean;
}

/** Checks that a directory belongs to this pool; makes it when the pool is new on this node. @throws BackendError */
export async function prepareDirectory(fs: FileSystem, { pool, directory, mountPoint, isUsed }: DirectoryOptions): Promise<void> {
  const marker = join(directory, MARKER);
  try {
    const owner = (await fs.read(marker)).trim();
    if (owner === pool) return;
    // An empty marker is left by a crash while it was written.
    if (owner) throw new BackendError('PoolMissing', `${directory} belongs to pool ${owner}: give each pool a directory of its own`);
  } catch (error) {
    if (error instanceof BackendError) throw error;
    if (!hasCode(error, 'ENOENT')) throw failed(`reading ${marker}`, error);
  }
  if (isUsed()) {
    const message = `${directory} lacks the volumes and snapshots that were made there: is its file system mounted?`;
    throw new BackendError('PoolMissing', message);
  }
  await checkMounted(fs, directory, mountPoint, (path) => exists(fs, path));
  try {
    await fs.mkdir(directory);
    await fs.write(marker, `${pool}\n`);
    await fs.syncDirectory(directory);
  } catch (error) {
    if (error instanceof BackendError) throw error;
    throw new BackendError('PoolMissing', `${directory} cannot be made: ${messageOf(error)}`, { cause: error });
  }
}

async function exists(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.device(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw failed(`looking at ${path}`, error);
  }
}
