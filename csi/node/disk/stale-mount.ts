import { Code, RpcError } from '../../../rpc/status.ts';
import type { MountPoint } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { mountAt } from './mounts.ts';

/**
 * The mount of the disk `device` at a path. Whatever else is mounted there, of a disk that had the address before or has
 * gone, is removed.
 * @throws RpcError INTERNAL when it cannot be removed
 */
export async function clearStale(
  deps: Pick<Deps, 'mounter' | 'log' | 'driver'>,
  target: string,
  device: string,
  signal: AbortSignal,
): Promise<MountPoint | undefined> {
  // Mounts can lie on top of each other; the limit only guards against a table that never changes.
  for (let layer = 0; layer < 16; layer++) {
    const present = mountAt(await deps.mounter.list(), target);
    if (!present || present.device === device) return present;
    const address = present.source.replace(/^\/dev\/etherd\//, '');
    const disk = await deps.driver.disk(address);
    // Nothing can be saved of a disk that is not there any more, and a plain unmount may wait for it.
    const gone = disk?.device !== present.device;
    deps.log.warn({ target, source: present.source, device: present.device, gone }, 'removing a stale mount');
    await deps.mounter.unmount(target, { lazy: gone, signal });
  }
  throw new RpcError(Code.INTERNAL, `${target} has too many mounts on top of each other; unmount them by hand`);
}
