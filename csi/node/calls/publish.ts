import { mkdir, open, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseAddress } from '../../../api/address.ts';
import { messageOf } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Disk } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { guard, isGuard } from '../disk/guard.ts';
import { mountAt } from '../disk/mountinfo.ts';
import { unmountLayers } from '../disk/unmount-layers.ts';
import { PASSPHRASE_KEY } from '../encryption/passphrase.ts';
import { isLockUnbroken } from '../lock/continuity.ts';
import { ownerOf } from '../record/staged-volumes.ts';
import { stage } from './stage.ts';
import { type Usage, usageOf } from './usage.ts';

/** NodePublishVolume: a bind mount of the staged file system, or of the disk's device node. */
export async function publish(deps: Deps, request: csi.v1.INodePublishVolumeRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  const usage = usageOf(request.volumeCapability);
  if (!request.stagingTargetPath) throw new RpcError(Code.FAILED_PRECONDITION, 'staging_target_path is missing');
  const staging = request.stagingTargetPath;
  const readOnly = request.readonly === true || usage.readOnly;
  const publishOnce = async (): Promise<'unusable' | 'published'> => {
    if ((await wasLost(deps, volumeId, signal)) || (usage.kind === 'mount' && (await isDiskDown(deps, volumeId)))) return 'unusable';
    const device = await publishable(deps, { volumeId, staging, target, readOnly, usage }, signal);
    if (!device) return 'published';
    await bind(deps, usage.kind === 'mount' ? staging : device.path, target, { directory: usage.kind === 'mount', readOnly, signal });
    if (usage.kind === 'block') await checkNode(deps, target, device, signal);
    deps.log.info({ volume: volumeId, target, readOnly, kind: usage.kind }, 'volume published');
    return 'published';
  };
  const publishNow = () => deps.jobs.run(volumeId, 'NodePublishVolume', publishOnce);
  if ((await publishNow()) === 'published') return;
  checkSecrets(deps, volumeId, request);
  // The kubelet knows of neither, and would publish for ever without staging.
  deps.log.info({ volume: volumeId }, 'staging a volume again that this node had lost, or whose disk was down');
  await stage(deps, request, signal);
  if ((await publishNow()) === 'unusable') {
    const message = `volume ${volumeId} was lost again by node ${deps.nodeName}, or its disk is down, after it was staged; try again later`;
    throw new RpcError(Code.ABORTED, message);
  }
}

/**
 * The kubelet gives the secrets of a stage to stages only.
 * @throws RpcError FAILED_PRECONDITION when an encrypted volume must be staged again without them
 */
function checkSecrets({ nodeName }: Deps, volumeId: string, { publishContext, secrets }: csi.v1.INodePublishVolumeRequest): void {
  if (!publishContext?.encryption || secrets?.[PASSPHRASE_KEY]) return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `volume ${volumeId} is encrypted, and must be staged again on node ${nodeName}, since the node had lost it or its disk was down: delete all pods on this node that use it, so that the kubelet does that. It is done without that when the StorageClass names the Secret with csi.storage.k8s.io/node-publish-secret-name and -namespace, too`,
  );
}

interface Publication {
  readonly volumeId: string;
  readonly staging: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly usage: Usage;
}

/**
 * The device to publish; undefined when the volume is published at the target already.
 * @throws RpcError when it cannot be published there
 */
async function publishable(
  deps: Deps,
  { volumeId, staging, target, readOnly, usage }: Publication,
  signal: AbortSignal,
): Promise<Disk | undefined> {
  const staged = await deps.staged.get(volumeId);
  if (!staged) {
    if (!(await deps.volumes.get(volumeId, signal))) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${volumeId}`);
    throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} is not staged on node ${deps.nodeName}`);
  }
  const disk = deps.localDisk(staged.address);
  // Never the disk of an encrypted volume itself.
  const device = staged.encrypted ? await disk.mapping() : await disk.device();
  const kind = usage.kind === 'mount' ? 'filesystem' : 'node';
  const own = (await disk.liveMounts()).filter((each) => each.kind === kind);
  if (!device || (usage.kind === 'mount' && !own.some((each) => each.target === staging))) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `volume ${volumeId} is not staged at ${staging} on node ${deps.nodeName}, or its disk ${staged.address} is gone`,
    );
  }
  if (usage.kind === 'block' && (await disk.filesystemAt(staging))) {
    throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} is staged as a file system at ${staging}, not as a raw block device`);
  }
  const present = mountAt(await deps.mounter.list(), target);
  if (present && !isGuard(present)) {
    const isReadOnly = present.options.includes('ro');
    if (own.some(({ id }) => id === present.id) && isReadOnly === readOnly) return undefined;
    throw new RpcError(
      Code.ALREADY_EXISTS,
      `${target} is taken: ${present.source} is mounted there ${isReadOnly ? 'read-only' : 'read-write'}`,
    );
  }
  const elsewhere = own.find((each) => each.target !== staging);
  if (usage.single && elsewhere) {
    throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} is for one pod at a time, and is published at ${elsewhere.target}`);
  }
  return device;
}

/**
 * Whether this node lost the volume since it was staged: it was cleaned up, or will be, because the target shows another lock than the one
 * it was staged under. An existing mount is stale then.
 */
async function wasLost(deps: Deps, volumeId: string, signal: AbortSignal): Promise<boolean> {
  const { staged, wire } = deps;
  if (await staged.wasLost(volumeId)) return true;
  const record = await staged.get(volumeId);
  if (!record?.locks || record.external) return false;
  const configs = await wire.configs(parseAddress(record.address), signal);
  if (configs.length === 0)
    throw new RpcError(
      Code.UNAVAILABLE,
      `volume ${volumeId} (${record.address}): its target does not answer; is the storage node in trouble?`,
    );
  return !isLockUnbroken(configs, ownerOf(deps, record), record);
}

/** Whether what is staged is a file system whose disk the kernel has given up. */
async function isDiskDown(deps: Deps, volumeId: string): Promise<boolean> {
  const record = await deps.staged.get(volumeId);
  return record !== undefined && (await deps.localDisk(record.address).isDown());
}

async function bind(
  deps: Deps,
  source: string,
  target: string,
  { directory, readOnly, signal }: { directory: boolean; readOnly: boolean; signal: AbortSignal },
): Promise<void> {
  await mkdir(directory ? target : dirname(target), { recursive: true });
  if (!directory) await (await open(target, 'a')).close();
  const isGuardNew = directory && (await guard(deps.mounter, target, signal));
  // In one command, so that a call that ends here does not leave it writable. On a device node, `ro` protects only the node itself;
  // writes to the disk are refused by the target.
  try {
    await deps.mounter.mount(source, target, { options: ['bind', ...(readOnly ? ['ro'] : [])], signal });
  } catch (error) {
    // The kubelet does not unpublish what was not published. A guard that was there before may be what a pod has now.
    if (isGuardNew) await deps.mounter.unmount(target, { signal });
    throw error;
  }
}

/** Makes sure that a device node was bound: the disk, and its node, may have gone before the mount. */
async function checkNode(deps: Deps, target: string, disk: Disk, signal: AbortSignal): Promise<void> {
  if ((await stat(target)).isBlockDevice()) return;
  await deps.mounter.unmount(target, { signal });
  throw new RpcError(Code.UNAVAILABLE, `disk ${disk.path} disappeared while it was published; try again`);
}

/** NodeUnpublishVolume: unmounts and removes the target path. It succeeds when nothing is there. */
export async function unpublish(deps: Deps, request: csi.v1.INodeUnpublishVolumeRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  await deps.jobs.run(volumeId, 'NodeUnpublishVolume', async () => {
    await unmountLayers(deps.mounter, target, { signal });
    try {
      // rmdir, never a recursive removal: files that were hidden by the mount are not ours.
      if ((await stat(target)).isDirectory()) await rmdir(target);
      else await rm(target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw new RpcError(Code.INTERNAL, `target path ${target} cannot be removed: ${messageOf(error)}`, { cause: error });
      }
    }
  });
}
