import { parseAddress } from '../../../api/address.ts';
import { diskBytesFor, type Encrypted, isAuthenticated, LUKS_HEADER_BYTES, serialOf, userBytesOf } from '../../../api/volume.ts';
import { type csi, fromInt64, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Disk, Mapping } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { oneRightDisk } from '../disk/identity.ts';
import type { LocalDisk } from '../disk/local-disk.ts';
import { growFilesystem } from '../filesystem/grow.ts';
import { encryptionOf } from '../record/staged-volumes.ts';

type Parts = Pick<Deps, 'nodeName' | 'localDisk' | 'encryption' | 'filesystems' | 'wire' | 'volumes' | 'staged' | 'jobs' | 'log'>;

/**
 * NodeExpandVolume: the kernel takes the size that the target serves, then the mapping of an encrypted volume grows, then the file system,
 * if one of the disk is mounted. It can be repeated at any point. A read-only mount stays as it is.
 */
export async function expand(deps: Parts, request: csi.v1.INodeExpandVolumeRequest, signal: AbortSignal) {
  const volumeId = required(request.volumeId, 'volume_id');
  required(request.volumePath, 'volume_path');
  const [least, most] = [fromInt64(request.capacityRange?.requiredBytes), fromInt64(request.capacityRange?.limitBytes)];
  if (least < 0 || most < 0) throw new RpcError(Code.INVALID_ARGUMENT, `capacity_range ${least} to ${most}: a size cannot be negative`);
  const record = await deps.staged.get(volumeId);
  const encrypted = record ? encryptionOf(record) : {};
  const onDisk = (bytes: number): number => (bytes === 0 ? 0 : diskBytesFor(encrypted, bytes));
  await growStaged(deps, volumeId, { least: onDisk(least), most: onDisk(most) }, signal);
  const device = await deviceOf(deps, volumeId);
  return { capacityBytes: int64(userBytesOf(encrypted, device.bytes)) };
}

/**
 * Makes disk and file system of a volume that is staged here as large as the target serves it.
 * @param bounds sizes in bytes of the disk that the target must serve; 0 is no bound
 * @throws RpcError NOT_FOUND when it is not staged here; UNAVAILABLE when the target or the kernel does not have the size yet; OUT_OF_RANGE
 */
export async function growStaged(
  deps: Parts,
  volumeId: string,
  { least, most }: { least: number; most: number },
  caller: AbortSignal,
): Promise<void> {
  const job = { volumeId, operation: 'NodeExpandVolume', args: JSON.stringify([least, most]) };
  await deps.jobs.queue(
    job,
    async (signal, step) => {
      const name = `volume ${volumeId} on node ${deps.nodeName}`;
      const record = await deps.staged.get(volumeId);
      if (!record) throw notStaged(deps, volumeId);
      const volume = await deps.volumes.get(volumeId, signal);
      if (volume?.metadata.uid !== record.volumeUID) throw new RpcError(Code.NOT_FOUND, `${name}: its AoEVolume was deleted`);
      const { external } = record;
      const serial = serialOf(volume);
      const surveyed = oneRightDisk(name, await deps.wire.survey(parseAddress(record.address), signal), { serial, external });
      if (surveyed.bytes < least)
        throw new RpcError(
          Code.UNAVAILABLE,
          `${name}: the target serves ${surveyed.bytes} bytes, and not yet the ${least} that are asked for`,
        );
      if (most > 0 && surveyed.bytes > most)
        throw new RpcError(Code.OUT_OF_RANGE, `${name}: the target serves ${surveyed.bytes} bytes, more than the limit of ${most}`);
      const disk = deps.localDisk(record.address);
      const before = await deviceOf(deps, volumeId);
      step('revalidate');
      const device = await disk.grow(name, surveyed, signal);
      step('growth of the mapping');
      const usable = record.encrypted ? await growMapping(deps, name, disk, device, encryptionOf(record), signal) : device;
      const mount = await disk.filesystemAt(record.stagingPath);
      step('growth of the file system');
      const filesystem = mount !== undefined && !external && (await growFilesystem(deps.filesystems, usable, mount, signal));
      if (device.bytes > before.bytes || filesystem)
        deps.log.info({ volume: volumeId, address: record.address, from: before.bytes, to: device.bytes, filesystem }, 'disk has grown');
    },
    caller,
  );
}

/**
 * Makes the mapping of an encrypted volume as large as its disk allows. One that is that large, or has tags, stays as it is.
 * @throws RpcError UNAVAILABLE when it is not open
 */
async function growMapping(
  { encryption }: Parts,
  name: string,
  disk: LocalDisk,
  device: Disk,
  encrypted: Encrypted,
  signal: AbortSignal,
): Promise<Mapping> {
  const mapping = await disk.mapping();
  if (!mapping)
    throw new RpcError(Code.UNAVAILABLE, `${name}: it is encrypted, and its mapping is not open; it grows when it is staged next`);
  return !isAuthenticated(encrypted) && mapping.bytes + LUKS_HEADER_BYTES < device.bytes ? encryption.grow(mapping, signal) : mapping;
}

async function deviceOf(deps: Parts, volumeId: string): Promise<Disk> {
  const record = await deps.staged.get(volumeId);
  const device = record && (await deps.localDisk(record.address).device());
  if (!device) throw notStaged(deps, volumeId);
  return device;
}

function notStaged({ nodeName }: Parts, volumeId: string): RpcError {
  return new RpcError(Code.NOT_FOUND, `volume ${volumeId} is not staged on node ${nodeName}, or its disk is gone`);
}
