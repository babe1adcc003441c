import { Code, RpcError } from '../../../rpc/status.ts';
import type { MountPoint } from '../contracts.ts';
import type { Deps } from '../deps.ts';

/** A disk, and where it is staged. */
interface Place {
  readonly address: string;
  readonly stagingPath: string;
}

/**
 * Takes every mount of a disk off, lazily: what is still open there gets nothing but errors, or must be closed before the disk goes.
 * @param onlyStaging the address is another volume's by now: only the mount at the staging path can be this one's
 * @returns where they were
 */
export async function unmountEverywhere(
  { driver, mounter }: Pick<Deps, 'driver' | 'mounter'>,
  { address, stagingPath }: Place,
  onlyStaging: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const disk = await driver.disk(address);
  const ours = ({ target, device, root, source }: MountPoint): boolean =>
    target === stagingPath ||
    (!onlyStaging && (device === disk?.device || root === `/etherd/${address}` || source === `/dev/etherd/${address}`));
  const targets = (await mounter.list()).filter(ours).map(({ target }) => target);
  // The newest first: it lies on top.
  for (const target of targets.toReversed()) await mounter.unmount(target, { lazy: true, signal });
  return targets;
}

/**
 * Removes a disk from the kernel, and with it all that the kernel has cached of it.
 * @throws RpcError FAILED_PRECONDITION while somebody has it open
 */
export async function removeDisk({ driver }: Pick<Deps, 'driver'>, address: string, signal: AbortSignal): Promise<void> {
  if (!(await driver.disk(address))) return;
  if ((await driver.state(address))?.startsWith('up') && (await driver.busy(address, signal))) {
    throw new RpcError(Code.FAILED_PRECONDITION, `disk ${address} is still in use: by a pod that is being ended, or a program on the node`);
  }
  await driver.flush(address, signal);
}
