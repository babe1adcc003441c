import { constants } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { hasCode } from './file/file-system.ts';

/** Whether a mount, or a device that is made of it, has a block device. */
export type IsClaimed = (path: string) => Promise<boolean>;

/**
 * Whether a mount, or a device that is made of it (device-mapper, md, swap), has a block device on this node: the kernel opens it exclusively
 * for them (open(2), O_EXCL).
 * @throws Error of open(2)
 */
export async function isClaimed(path: string): Promise<boolean> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_EXCL);
    await file.close();
    return false;
  } catch (error) {
    if (hasCode(error, 'EBUSY')) return true;
    throw error;
  }
}

/**
 * The loop device on this node whose disk is a file (Documentation/ABI/testing/sysfs-block-loop); undefined when there is none.
 * @param path in the directory of the node where it is
 */
export async function loopOf(path: string): Promise<string | undefined> {
  for (const name of (await readdir('/sys/block')).filter((each) => each.startsWith('loop'))) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    // Seen from a container, the path may begin with where its root is.
    if (file.trim().endsWith(path)) return `/dev/${name}`;
  }
  return undefined;
}
