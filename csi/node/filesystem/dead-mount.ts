import { Code, RpcError } from '../../../rpc/status.ts';
import type { StageJob } from '../calls/stage-job.ts';
import type { Deps } from '../deps.ts';
import { DiskInUseError, type LocalDisk } from '../disk/local-disk.ts';

/** Whether the kernel has given up the disk: a file system that is mounted from it has lost writes, and stays broken when the disk comes back. */
export async function isDown(disk: LocalDisk): Promise<boolean> {
  const health = await disk.health();
  return health === 'down' || health === 'closewait';
}

/**
 * Removes the staging mount of a file system whose disk is down, and the disk with all that is cached of it, so that it can be attached,
 * checked and mounted again. The kubelet does not unstage by itself while another pod on this node waits for the volume.
 * @throws RpcError FAILED_PRECONDITION while pods still have it mounted: the kernel would mount the same broken file system again
 */
export async function removeDeadMount(deps: Deps, { name, volumeId, disk, stagingPath, signal }: StageJob): Promise<void> {
  if (!(await isDown(disk))) return;
  const mounts = (await disk.mounts()).filter(({ kind, isStale }) => kind === 'filesystem' && !isStale);
  if (mounts.length === 0) return;
  const refuse = (why: string, cause?: unknown): never => {
    const message = `${name}: the disk was down, and the file system that is mounted from it has lost writes. It is mounted again when all pods on this node that use it have ended: ${why}`;
    throw new RpcError(Code.FAILED_PRECONDITION, message, { cause });
  };
  const others = mounts.filter(({ target }) => target !== stagingPath).map(({ target }) => target);
  if (others.length > 0) refuse(`it is still mounted at ${others.join(', ')}`);
  deps.log.warn({ volume: volumeId, address: disk.address }, 'removing the mount of a file system whose disk was down');
  await disk.unmountAll({ at: stagingPath }, signal);
  await disk.remove(signal).catch((error: unknown) => {
    if (!(error instanceof DiskInUseError)) throw error;
    refuse(error.message, error);
  });
}
