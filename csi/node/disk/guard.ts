import type { Mounter, MountPoint } from '../contracts.ts';
import { mountAt } from './mountinfo.ts';

/** What the mount tables of host and container show as its device. */
const SOURCE = 'aoe-csi-no-volume';
/** Where the kubelet has a file system published for a pod (pkg/volume/csi/csi_mounter.go, getTargetPath). */
const PUBLISHED = /\/pods\/[^/]+\/volumes\/kubernetes\.io~csi\/[^/]+\/mount$/;

/** Whether a mount is the guard: no volume is published there then. */
export const isGuard = ({ type, source }: MountPoint): boolean => type === 'tmpfs' && source === SOURCE;

/** Whether a path is one at which the kubelet has a file system published. */
export const isPublishPath = (path: string): boolean => PUBLISHED.test(path);

/**
 * Mounts an empty file system at a path, in which nothing can be made and root alone can look, unless something is mounted there. The volume is
 * mounted on top of it. When that mount is detached because this node has lost the volume, a container that is started again gets the
 * guard: it would get the bare directory, and write to the root disk of the node.
 * @returns whether it was mounted now
 */
export async function guard(mounter: Pick<Mounter, 'list' | 'mount'>, path: string, signal: AbortSignal): Promise<boolean> {
  if (mountAt(await mounter.list(), path)) return false;
  const options = ['ro', 'nosuid', 'nodev', 'noexec', 'mode=0000', 'size=4k', 'nr_inodes=1'];
  await mounter.mount(SOURCE, path, { type: 'tmpfs', options, signal });
  return true;
}
