import { mkdir, open, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseAddress } from '../../../api/address.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Disk, MountPoint } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { mountAt } from '../disk/mounts.ts';
import { heldAllTheTime } from '../lock/continuity.ts';
import { ownerOf } from '../record/staged-volumes.ts';
import type { PublishRequest, UnpublishRequest } from './requests.ts';
import { stageAgain } from './stage.ts';
import { usageOf } from './usage.ts';

/** NodePublishVolume: a bind mount of the staged file system, or of the disk's device node. */
export async function publish(deps: Deps, request: PublishRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  const usage = usageOf(request.volumeCapability);
  if (!request.stagingTargetPath) throw new RpcError(Code.FAILED_PRECONDITION, 'staging_target_path is missing');
  const staging = request.stagingTargetPath;
  const readOnly = request.readonly === true || usage.readOnly;
  await deps.busy.run(volumeId, 'NodePublishVolume', async () => {
    if (await wasLost(deps, volumeId, signal)) await stageAgain(deps, volumeId, request, signal);
    const staged = await deps.staged.get(volumeId);
    if (!staged) {
      if (!(await deps.volumes.get(volumeId, signal))) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${volumeId}`);
      throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} is not staged on node ${deps.nodeName}`);
    }
    const disk = await deps.driver.disk(staged.address);
    const mounts = await deps.mounter.list();
    if (!disk || (usage.kind === 'mount' && mountAt(mounts, staging)?.device !== disk.device)) {
      throw new RpcError(
        Code.FAILED_PRECONDITION,
        `volume ${volumeId} is not staged at ${staging} on node ${deps.nodeName}, or its disk ${staged.address} has gone`,
      );
    }
    const ours = (each: MountPoint): boolean =>
      usage.kind === 'mount' ? each.device === disk.device : each.root === `/etherd/${staged.address}`;
    const present = mountAt(mounts, target);
    if (present) {
      if (ours(present) && present.options.includes('ro') === readOnly) return;
      throw new RpcError(
        Code.ALREADY_EXISTS,
        `${target} is taken: ${present.source} is mounted there ${present.options.includes('ro') ? 'read-only' : 'read-write'}`,
      );
    }
    const elsewhere = mounts.find((each) => ours(each) && each.target !== staging);
    if (usage.single && elsewhere) {
      throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} is for one pod at a time, and is published at ${elsewhere.target}`);
    }
    await bind(deps, usage.kind === 'mount' ? staging : disk.path, target, { directory: usage.kind === 'mount', readOnly, signal });
    if (usage.kind === 'block') await checkNode(deps, target, disk, signal);
    deps.log.info({ volume: volumeId, target, readOnly, kind: usage.kind }, 'volume published');
  });
}

/**
 * Whether this node lost the volume since it was staged: it was cleaned up, or is about to be, because the lock is not the one it
 * was staged under. What is mounted then is of before.
 */
async function wasLost(deps: Deps, volumeId: string, signal: AbortSignal): Promise<boolean> {
  const { staged, wire } = deps;
  if (await staged.wasLost(volumeId)) return true;
  const record = await staged.get(volumeId);
  if (!record?.locks || record.external) return false;
  const strings = await wire.strings(parseAddress(record.address), signal);
  if (strings.length === 0)
    throw new RpcError(
      Code.UNAVAILABLE,
      `volume ${volumeId} (${record.address}): its target does not answer; is the storage node in trouble?`,
    );
  return !heldAllTheTime(strings, ownerOf(deps, record), record);
}

async function bind(
  deps: Deps,
  source: string,
  target: string,
  { directory, readOnly, signal }: { directory: boolean; readOnly: boolean; signal: AbortSignal },
): Promise<void> {
  await mkdir(directory ? target : dirname(target), { recursive: true });
  if (!directory) await (await open(target, 'a')).close();
  // In one command, so that no call leaves it writable where it ends. For a device node `ro` keeps only the node itself from being
  // changed; writes are the target's to refuse.
  await deps.mounter.mount(source, target, { options: ['bind', ...(readOnly ? ['ro'] : [])], signal });
}

/** The disk may have gone, and its name with it, between look and mount. */
async function checkNode(deps: Deps, target: string, disk: Disk, signal: AbortSignal): Promise<void> {
  if ((await stat(target)).isBlockDevice()) return;
  await deps.mounter.unmount(target, { signal });
  throw new RpcError(Code.UNAVAILABLE, `disk ${disk.path} went away while it was published; try again`);
}

/** NodeUnpublishVolume: unmounts and removes the target path. Nothing there is success. */
export async function unpublish(deps: Deps, request: UnpublishRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  await deps.busy.run(volumeId, 'NodeUnpublishVolume', async () => {
    for (let layer = 0; layer < 16 && mountAt(await deps.mounter.list(), target); layer++) await deps.mounter.unmount(target, { signal });
    if (mountAt(await deps.mounter.list(), target)) throw new RpcError(Code.INTERNAL, `${target} is still mounted; unmount it by hand`);
    try {
      // rmdir, never a recursive removal: what is in there, under the mount, is not ours.
      if ((await stat(target)).isDirectory()) await rmdir(target);
      else await rm(target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw new RpcError(Code.INTERNAL, `target path ${target} cannot be removed: ${messageOf(error)}`, { cause: error });
      }
    }
  });
}
