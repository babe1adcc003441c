import { csi, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Disk } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { isGuard } from '../disk/guard.ts';
import { mountAt } from '../disk/mountinfo.ts';

const { Unit } = csi.v1.VolumeUsage;

/** NodeGetVolumeStats: sizes of the file system or disk, and whether the disk works. */
export async function stats(deps: Deps, request: csi.v1.INodeGetVolumeStatsRequest, signal: AbortSignal) {
  const volumeId = required(request.volumeId, 'volume_id');
  const path = required(request.volumePath, 'volume_path');
  const staged = await deps.staged.get(volumeId);
  const mount = mountAt(await deps.mounter.list(), path);
  if (!staged || !mount || isGuard(mount))
    throw new RpcError(Code.NOT_FOUND, `volume ${volumeId} is not published at ${path} on node ${deps.nodeName}`);
  const disk = deps.localDisk(staged.address);
  const health = await disk.health();
  const device = (await disk.mapping()) ?? (await disk.device());
  if (health !== 'up' || !device) {
    // The file system is not asked: it could wait for the disk.
    const state = health === 'closewait' ? 'down,closewait' : health;
    const message = `disk ${staged.address} is ${state}: its target has not answered for longer than aoe_deadsecs; see the storage node`;
    return { usage: device ? [sizeOf(device)] : [], volumeCondition: { abnormal: true, message } };
  }
  const own = (await disk.mounts()).find(({ id }) => id === mount.id);
  if (own?.kind === 'node') return { usage: [sizeOf(device)], volumeCondition: { abnormal: false, message: 'disk is up' } };
  const { bytes, inodes } = await deps.filesystems.usage(path, signal);
  // The kubelet's metrics are what autoscalers and alerts go by, and a volume that has grown never shrinks.
  const taken = Math.min(deps.reclaiming(staged.address), bytes.used);
  const isFailed = mount.superOptions.includes('ro') && !mount.options.includes('ro');
  return {
    usage: [
      { unit: Unit.BYTES, total: int64(bytes.total), used: int64(bytes.used - taken), available: int64(bytes.available + taken) },
      { unit: Unit.INODES, total: int64(inodes.total), used: int64(inodes.used), available: int64(inodes.available) },
    ],
    volumeCondition: isFailed
      ? { abnormal: true, message: `the kernel has made the ${mount.type} file system read-only after errors; see dmesg` }
      : { abnormal: false, message: 'disk is up' },
  };
}

function sizeOf({ bytes }: Disk) {
  return { unit: Unit.BYTES, total: int64(bytes) };
}
