import { describeError } from '../../../aoe/mod.ts';
import { formatAddress, parseAddress } from '../../../api/address.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Deps } from '../deps.ts';
import { isDiskGoneOrDown, type LocalDisk } from '../disk/local-disk.ts';
import { unmountLayers } from '../disk/unmount-layers.ts';
import { forgetHolder } from '../lock/holder.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';

/**
 * NodeUnstageVolume: unmount, remove the disk from the kernel, release the lock. It succeeds when nothing is staged, and fails when
 * anything stays mounted or open.
 */
export async function unstage(deps: Deps, request: csi.v1.INodeUnstageVolumeRequest, caller: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  const job = async (signal: AbortSignal): Promise<void> => {
    const staged = await recall(deps, volumeId, stagingPath, signal);
    const disk = staged && deps.localDisk(staged.address);
    // Another volume that is staged here has the address now: the disk is not this volume's any more.
    const successor = staged && (await deps.staged.successor(volumeId, staged.address));
    if (disk && !successor) await checkUnpublished(deps, volumeId, disk, stagingPath);
    await endFreeze(deps, volumeId, disk, signal);
    await disk?.endOwnUse();
    await unmountLayers(deps.mounter, stagingPath, { isLazy: (mount) => isDiskGoneOrDown(deps.driver, mount), signal });
    if (!staged) return deps.staged.delete(volumeId);
    if (!successor) await disk?.remove(signal);
    if (staged.access === 'Exclusive') await unlock(deps, volumeId, staged, signal);
    await deps.staged.delete(volumeId);
    if (!successor) deps.removedDisks.add(volumeId, staged.address);
    deps.log.info({ volume: volumeId, address: staged.address }, 'volume unstaged');
  };
  await deps.jobs.queue({ volumeId, operation: 'NodeUnstageVolume', args: stagingPath }, job, caller);
}

/**
 * A frozen file system would stay in the kernel without a mount by which it could be thawed.
 * @throws RpcError UNAVAILABLE while it is not thawed, unless its disk is down: then it is unmounted all the same
 */
async function endFreeze({ freezes }: Deps, volumeId: string, disk: LocalDisk | undefined, signal: AbortSignal): Promise<void> {
  try {
    await freezes.end(volumeId, 'NodeUnstageVolume was called', signal);
  } catch (error) {
    if (!(await disk?.isDown())) throw error;
  }
}

/** What was staged: as this node recorded it, or else as the AoEVolume says. */
async function recall(deps: Deps, volumeId: string, stagingPath: string, signal: AbortSignal): Promise<StagedVolume | undefined> {
  const file = await deps.staged.get(volumeId);
  if (file) return file;
  const volume = await deps.volumes.get(volumeId, signal);
  const target = volume?.spec.external ?? volume?.spec.address;
  if (!volume || !target) return undefined;
  return {
    version: 1,
    volumeUID: volume.metadata.uid ?? '',
    address: formatAddress(target),
    access: volume.spec.access,
    external: volume.spec.external !== undefined,
    stagingPath,
  };
}

/** Before anything is undone: a volume that a pod still uses stays as it is. */
async function checkUnpublished({ nodeName }: Deps, volumeId: string, disk: LocalDisk, stagingPath: string): Promise<void> {
  const others = (await disk.liveMounts()).filter(({ target }) => target !== stagingPath);
  if (others.length === 0) return;
  throw new RpcError(
    Code.INTERNAL,
    `volume ${volumeId} is still mounted on node ${nodeName} at ${others.map(({ target }) => target).join(', ')}; it must be unpublished first`,
  );
}

async function unlock(deps: Deps, volumeId: string, staged: StagedVolume, signal: AbortSignal): Promise<void> {
  const result = await deps.wire.release(parseAddress(staged.address), ownerOf(deps, staged), signal);
  if (result.outcome === 'released') {
    if (staged.external) await forgetHolder(deps, volumeId, signal);
    return;
  }
  const reason = result.outcome === 'refused' ? `refuses with ${describeError(result.error)}` : 'does not answer';
  if (staged.external) {
    // Nobody else clears a lock on an external target: the kubelet must call again.
    throw new RpcError(
      Code.UNAVAILABLE,
      `volume ${volumeId} is unmounted, but the target at ${staged.address} ${reason}, so its lock stays; the release is tried again`,
    );
  }
  // A storage node that is down must not hold up pods. When it is back, its agent clears the locks of hosts that are not admitted, and
  // this host is not admitted any more after ControllerUnpublishVolume.
  deps.log.warn({ volume: volumeId, address: staged.address, reason }, 'lock not released; the agent of the storage node clears it');
}
