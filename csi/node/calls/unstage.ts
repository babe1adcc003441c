import { formatAddress, parseAddress } from '../../../api/address.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Deps } from '../deps.ts';
import { mountAt } from '../disk/mounts.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';
import type { UnstageRequest } from './requests.ts';

/**
 * NodeUnstageVolume: unmount, remove the disk from the kernel, give the lock back. Nothing staged is success; anything that
 * is still mounted is an error.
 */
export async function unstage(deps: Deps, request: UnstageRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  await deps.busy.run(volumeId, 'NodeUnstageVolume', async () => {
    const staged = await recall(deps, volumeId, stagingPath, signal);
    // Another volume has the address now: its disk is not ours to touch.
    const successor = staged && (await deps.staged.successor(volumeId, staged.address));
    if (staged && !successor) await checkUnpublished(deps, volumeId, staged.address, stagingPath);
    await unmountAll(deps, staged?.address, stagingPath, signal);
    if (!staged) return deps.staged.delete(volumeId);
    if (!successor) await remove(deps, volumeId, staged.address, signal);
    if (staged.access === 'Exclusive') await unlock(deps, volumeId, staged, signal);
    await deps.staged.delete(volumeId);
    if (!successor) deps.departed.add(volumeId, staged.address);
    deps.log.info({ volume: volumeId, address: staged.address }, 'volume unstaged');
  });
}

/** What was staged: from our own file, or else from the AoEVolume. */
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

async function unmountAll(deps: Deps, address: string | undefined, stagingPath: string, signal: AbortSignal): Promise<void> {
  for (let layer = 0; layer < 16; layer++) {
    const present = mountAt(await deps.mounter.list(), stagingPath);
    if (!present) return;
    const disk = await deps.driver.disk(present.source.replace(/^\/dev\/etherd\//, ''));
    // A disk that the kernel gave up, or removed, takes no more writes: do not wait for it.
    const dead =
      disk?.device !== present.device || (address !== undefined && (await deps.driver.state(address))?.startsWith('down') === true);
    await deps.mounter.unmount(stagingPath, { lazy: dead, signal });
  }
  throw new RpcError(Code.INTERNAL, `${stagingPath} is still mounted; unmount it by hand`);
}

/** Before anything is undone: what a pod still uses stays whole. */
async function checkUnpublished(deps: Deps, volumeId: string, address: string, stagingPath: string): Promise<void> {
  const disk = await deps.driver.disk(address);
  const mounts = await deps.mounter.list();
  const others = mounts.filter(
    (each) => each.target !== stagingPath && (each.device === disk?.device || each.root === `/etherd/${address}`),
  );
  if (others.length === 0) return;
  throw new RpcError(
    Code.INTERNAL,
    `volume ${volumeId} is still mounted on node ${deps.nodeName} at ${others.map((each) => each.target).join(', ')}; it must be unpublished first`,
  );
}

async function remove(deps: Deps, volumeId: string, address: string, signal: AbortSignal): Promise<void> {
  // A disk that is down cannot be opened, and whoever has it open gets nothing but errors from it.
  if ((await deps.driver.state(address))?.startsWith('up') && (await deps.driver.busy(address, signal))) {
    throw new RpcError(
      Code.INTERNAL,
      `disk ${address} of volume ${volumeId} is still in use on node ${deps.nodeName}: mounted in another namespace, or opened by a program`,
    );
  }
  await deps.driver.flush(address, signal);
}

async function unlock(deps: Deps, volumeId: string, staged: StagedVolume, signal: AbortSignal): Promise<void> {
  const result = await deps.wire.release(parseAddress(staged.address), ownerOf(deps, staged), signal);
  if (result.outcome === 'released') {
    if (staged.external) await forgetHolder(deps, volumeId, signal);
    return;
  }
  const why = result.outcome === 'refused' ? `refuses with AoE error ${result.error}` : 'does not answer';
  if (staged.external) {
    // Nobody else clears the lock of a foreign target: the kubelet must ask again.
    throw new RpcError(
      Code.UNAVAILABLE,
      `volume ${volumeId} is unmounted, but the target at ${staged.address} ${why}, so its lock stays; it is tried again`,
    );
  }
  // A storage node that is down must not hold up pods: when it is back, its agent clears the locks of hosts that are not
  // in force, and this one will not be after ControllerUnpublishVolume.
  deps.log.warn({ volume: volumeId, address: staged.address, why }, 'lock not released, left to the agent');
}

async function forgetHolder(deps: Deps, volumeId: string, signal: AbortSignal): Promise<void> {
  try {
    const volume = await deps.volumes.get(volumeId, signal);
    if (volume?.status?.holder?.node === deps.nodeName) await deps.volumes.record(volume, { holder: null }, signal);
  } catch (error) {
    deps.log.warn({ volume: volumeId, error }, 'holder not removed from the status');
  }
}
