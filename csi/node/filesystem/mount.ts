import { type AoEVolume, isNeverFormatted } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { StageJob } from '../calls/stage-job.ts';
import type { MountUsage } from '../calls/usage.ts';
import type { Content, Disk, Filesystems } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { unmountLayers } from '../disk/unmount-layers.ts';
import { early } from '../early.ts';
import { mountOrFormat } from './format-rule.ts';
import { growFilesystem } from './grow.ts';

/**
 * Whether the file system is mounted at the staging path already, as requested. A mount there of another disk, or of a dead one, is removed.
 * @throws RpcError ALREADY_EXISTS when it is mounted in another way
 */
export async function isMounted(deps: Deps, { name, stagingPath, disk, signal }: StageJob, usage: MountUsage): Promise<boolean> {
  const present = await disk.clearStale(stagingPath, signal);
  if (!present) return false;
  const isReadOnly = present.options.includes('ro');
  // The file system has become read-only after errors, for example because its target was away too long: mount it again.
  if (!isReadOnly && !usage.readOnly && present.superOptions.includes('ro')) {
    deps.log.warn({ target: stagingPath, source: present.source }, 'removing a mount that has become read-only after errors');
    await unmountLayers(deps.mounter, stagingPath, { signal });
    return false;
  }
  if (present.type !== usage.type || isReadOnly !== usage.readOnly) {
    const found = `${present.type} ${isReadOnly ? 'read-only' : 'read-write'}`;
    const wanted = `${usage.type} ${usage.readOnly ? 'read-only' : 'read-write'}`;
    throw new RpcError(Code.ALREADY_EXISTS, `${name} is staged already, as ${found}, but ${wanted} was requested`);
  }
  return true;
}

/**
 * Mounts the volume's file system at the staging path; checks it before, or makes it when the disk is empty.
 * @param volume as it was read after this node took the lock
 */
export async function mountFilesystem(
  deps: Deps,
  job: StageJob,
  usage: MountUsage,
  { volume, device }: { volume: AoEVolume | undefined; device: Disk },
): Promise<void> {
  const { name, context, stagingPath, signal } = job;
  const { filesystems } = deps;
  if (volume?.metadata.uid !== context.volumeUID) throw new RpcError(Code.ABORTED, `${name}: the AoEVolume was deleted meanwhile`);
  job.step('inspection of the disk');
  // A new volume is empty, so that blkid need not be started. A disk of an external target, or one that was adopted, can hold what blkid finds
  // elsewhere: VMFS, or the second header of LUKS.
  const isNew = volume.status?.filesystem === undefined && !context.external && volume.spec.adopt === undefined;
  // A pod that outlived its staging mount can have it mounted elsewhere: then neither mkfs nor fsck can run.
  const [{ content, blank }, isClaimed] = await Promise.all([inspect(filesystems, device, isNew, signal), job.disk.isClaimed(signal)]);
  const isShared = context.access !== 'Exclusive';
  const decision = mountOrFormat({
    name,
    content,
    blank,
    recorded: volume.status?.filesystem,
    restored: isNeverFormatted(volume),
    wanted: usage.type,
    readOnly: usage.readOnly || isShared,
    locked: !isShared,
  });
  if (decision === 'format' && isClaimed) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `${name}: the disk is in use on this node, but holds no ${usage.type}; it is not formatted`,
    );
  }
  if (decision === 'format') await format(deps, job, usage.type, { volume, device });
  else if (!usage.readOnly && !isClaimed) {
    job.step('e2fsck');
    await filesystems.check(device.path, usage.type, signal);
  }
  // Also when an earlier attempt has formatted the disk and could not record it: "Formatting" permits another format.
  const isFinished = decision === 'format' || (volume.status?.filesystem?.state === 'Formatting' && !usage.readOnly && !isShared);
  const recorded = isFinished
    ? early(deps.volumes.record(volume, { filesystem: { type: usage.type, state: 'Formatted' } }, signal))
    : undefined;
  job.step('mount');
  // Where other hosts may read at the same time, not even the journal may be replayed.
  const withoutJournal = usage.type === 'xfs' ? 'norecovery' : 'noload';
  // Its file system has the UUID of the one that the snapshot is of: this node may have both mounted.
  const isTwin = (volume.spec.source !== undefined || volume.spec.adopt !== undefined) && usage.type === 'xfs';
  const options = [...usage.flags, ...(usage.readOnly ? ['ro'] : []), ...(isShared ? [withoutJournal] : []), ...(isTwin ? ['nouuid'] : [])];
  try {
    await deps.mounter.mount(device.path, stagingPath, { type: usage.type, options, signal });
  } finally {
    await recorded;
  }
  if (decision === 'mount' && !isShared && !context.external) await growMounted(deps, job, device);
}

/** The disk may have grown while it was not mounted. A file system that cannot grow is usable all the same, at its size. */
async function growMounted(
  { filesystems, log }: Deps,
  { volumeId, disk, stagingPath, signal, step }: StageJob,
  device: Disk,
): Promise<void> {
  step('growth of the file system');
  try {
    const mount = await disk.filesystemAt(stagingPath);
    if (mount && (await growFilesystem(filesystems, device, mount, signal)))
      log.info({ volume: volumeId, device: device.path, bytes: device.bytes }, 'file system has grown to the size of its disk');
  } catch (error) {
    signal.throwIfAborted();
    log.warn({ volume: volumeId, device: device.path, error: messageOf(error) }, 'file system is smaller than its disk, and cannot grow');
  }
}

/** Formats an empty disk. That it has begun is recorded before, so that an interrupted format is recognized. */
async function format(
  { filesystems, volumes, nodeName, log }: Deps,
  { signal, step }: StageJob,
  type: string,
  { volume, device }: { volume: AoEVolume; device: Disk },
): Promise<void> {
  log.info({ volume: volume.metadata.name, type, device: device.path }, 'formatting an empty disk');
  step('record of the format');
  // If this node was slow, the disk may belong to another node by now, and be formatted: it must not be formatted a second time.
  const before = volume.status?.filesystem?.state;
  const isStillOurs = ({ spec, status }: AoEVolume): boolean =>
    status?.filesystem?.state === before && spec.initiators.nodes?.includes(nodeName) === true;
  await volumes.record(volume, { filesystem: { type, state: 'Formatting' } }, signal, isStillOurs);
  step(`mkfs.${type}`);
  await filesystems.format(device, type, signal);
}

/**
 * What is on a disk.
 * @param isNew nothing is known of it: whether it is blank is asked first
 */
export async function inspect(
  filesystems: Pick<Filesystems, 'probe' | 'isBlank'>,
  device: Disk,
  isNew: boolean,
  signal: AbortSignal,
): Promise<{ content: Content; blank: boolean }> {
  if (isNew && (await filesystems.isBlank(device, signal))) return { content: { kind: 'nothing' }, blank: true };
  const content = await filesystems.probe(device.path, signal);
  if (content.kind !== 'nothing' || isNew) return { content, blank: false };
  if (await filesystems.isBlank(device, signal)) return { content, blank: true };
  // blkid also finds "nothing" after a read error. The disk has been read by now, so a second answer can be trusted.
  return { content: await filesystems.probe(device.path, signal), blank: false };
}
