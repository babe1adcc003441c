import { stat, statfs } from 'node:fs/promises';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Semaphore } from '../../../run/semaphore.ts';
import { required } from '../../required.ts';
import type { Deps } from '../deps.ts';
import { mountAt } from '../disk/mounts.ts';
import { type StatsRequest, type StatsResponse, Unit } from './requests.ts';

const STATFS_MS = 10_000;

/** NodeGetVolumeStats: sizes of the file system or disk, and whether the disk is all right. */
export async function stats(deps: Deps, diskThreads: Semaphore, request: StatsRequest, signal: AbortSignal): Promise<StatsResponse> {
  const volumeId = required(request.volumeId, 'volume_id');
  const path = required(request.volumePath, 'volume_path');
  const staged = await deps.staged.get(volumeId);
  const mount = mountAt(await deps.mounter.list(), path);
  if (!staged || !mount) throw new RpcError(Code.NOT_FOUND, `volume ${volumeId} is not published at ${path} on node ${deps.nodeName}`);
  const state = await deps.driver.state(staged.address);
  const disk = await deps.driver.disk(staged.address);
  if (!state?.startsWith('up') || !disk) {
    // No statfs here: it could wait for the disk.
    const message = `disk ${staged.address} is ${state ?? 'gone'}: no answer from its target for longer than aoe_deadsecs; see the storage node`;
    return { usage: disk ? [{ total: disk.bytes, unit: Unit.Bytes }] : [], volumeCondition: { abnormal: true, message } };
  }
  if (mount.root === `/etherd/${staged.address}`) {
    return { usage: [{ total: disk.bytes, unit: Unit.Bytes }], volumeCondition: { abnormal: false, message: 'disk is up' } };
  }
  const limit = AbortSignal.any([signal, AbortSignal.timeout(STATFS_MS)]);
  const found = await diskThreads
    .runOrAbandon(async () => ((await stat(path)).isDirectory() ? statfs(path) : undefined), limit)
    .catch((error: unknown) => {
      throw new RpcError(Code.INTERNAL, `sizes of ${path} cannot be read within ${STATFS_MS / 1000} s`, { cause: error });
    });
  if (!found) throw new RpcError(Code.INTERNAL, `${path} is not a directory`);
  const { bsize, blocks, bfree, bavail, files, ffree } = found;
  const readOnly = mount.superOptions.includes('ro') && !mount.options.includes('ro');
  return {
    usage: [
      { unit: Unit.Bytes, total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
      { unit: Unit.Inodes, total: files, used: files - ffree, available: ffree },
    ],
    volumeCondition: readOnly
      ? { abnormal: true, message: `the kernel has made the ${mount.type} file system read-only after errors; see dmesg` }
      : { abnormal: false, message: 'disk is up' },
  };
}
