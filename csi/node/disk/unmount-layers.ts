import { Code, RpcError } from '../../../rpc/status.ts';
import type { Mounter, MountPoint } from '../contracts.ts';
import { mountAt } from './mountinfo.ts';

/** Mounts can lie on top of each other. The limit guards against a mount table that never changes. */
const MAX_LAYERS = 16;

/**
 * Unmounts what is mounted at a path, layer by layer from the top, until nothing is left or `keep` accepts the topmost mount.
 * @returns the mount that was kept
 * @throws RpcError INTERNAL when a mount cannot be removed
 */
export async function unmountLayers(
  mounter: Pick<Mounter, 'list' | 'unmount'>,
  path: string,
  {
    keep = () => false,
    isLazy = () => false,
    signal,
  }: { keep?: (mount: MountPoint) => boolean; isLazy?: (mount: MountPoint) => Promise<boolean> | boolean; signal: AbortSignal },
): Promise<MountPoint | undefined> {
  for (let layer = 0; layer <= MAX_LAYERS; layer++) {
    const top = mountAt(await mounter.list(), path);
    if (!top || keep(top)) return top;
    await mounter.unmount(path, { lazy: await isLazy(top), signal });
  }
  throw new RpcError(Code.INTERNAL, `more than ${MAX_LAYERS} mounts lie on top of each other at ${path}: unmount them by hand`);
}
