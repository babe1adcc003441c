import { formatAddress } from '../../../api/address.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Deps } from '../deps.ts';
import { DiskInUseError } from '../disk/local-disk.ts';
import type { PublishContext } from './publish-context.ts';
import type { StageJob } from './stage-job.ts';

/**
 * The attachment names the address that the volume had when it was attached, and after a move an older copy of the data may be served there.
 * @throws RpcError FAILED_PRECONDITION when the volume was moved since
 */
export function checkPlace({ metadata, spec }: AoEVolume, { address, external }: PublishContext, nodeName: string): void {
  if (external || !spec.address || formatAddress(spec.address) === address) return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `AoEVolume ${metadata.name} was moved from ${address} to ${formatAddress(spec.address)} since it was attached to node ${nodeName}: delete the pods on this node that use it, so that it is attached again`,
  );
}

/**
 * Removes the disk that the volume was on this node before it was moved, with all its mounts, unless another volume has its address now.
 * @throws RpcError FAILED_PRECONDITION while a program has it open
 */
export async function removeEarlierDisk(
  { localDisk, staged }: Deps,
  { name, volumeId, stagingPath, signal }: StageJob,
  address: string,
): Promise<void> {
  const disk = localDisk(address);
  const successor = await staged.successor(volumeId, address);
  try {
    await disk.unmountAll({ at: stagingPath, onlyThere: successor !== undefined }, signal);
    if (successor === undefined) await disk.remove(signal);
  } catch (error) {
    if (!(error instanceof DiskInUseError)) throw error;
    const message = `${name} was moved, and its stale disk must go first: ${error.message}`;
    throw new RpcError(Code.FAILED_PRECONDITION, message, { cause: error });
  }
}
