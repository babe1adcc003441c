import { type LockOwner, lockTime } from '../../../aoe/mod.ts';
import { type AoEVolume, isAuthenticated, serialOf } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Disk } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { oneRightDisk, type Surveyed } from '../disk/identity.ts';
import { DiskInUseError, inUseAlready } from '../disk/local-disk.ts';
import { early } from '../early.ts';
import { passphraseOf } from '../encryption/passphrase.ts';
import { unlock } from '../encryption/unlock.ts';
import { removeDeadMount } from '../filesystem/dead-mount.ts';
import { isMounted, mountFilesystem } from '../filesystem/mount.ts';
import { isLockUnbroken } from '../lock/continuity.ts';
import { releaseAfterFailure, takeLock } from '../lock/take.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';
import { checkPlace, removeEarlierDisk } from './moved.ts';
import { refuseOtherKind } from './other-kind.ts';
import { parsePublishContext } from './publish-context.ts';
import { type StageJob, timed } from './stage-job.ts';
import { checkAccess, usageOf } from './usage.ts';

/** How many times of locks are remembered: each attempt to stage adds one, and success leaves one. */
const MAX_LOCKS = 8;

/** The fields of a request that staging reads; those of a publish request contain them. */
export type StageRequest = Pick<
  csi.v1.INodeStageVolumeRequest,
  'volumeId' | 'publishContext' | 'stagingTargetPath' | 'volumeCapability' | 'secrets'
>;

/**
 * NodeStageVolume: lock, discover, compare serials, open what is encrypted, format an empty disk, mount. It can be repeated at any point.
 * Nothing is written to a disk before its serial was seen twice: on the wire, and by the kernel.
 */
export async function stage(deps: Deps, request: StageRequest, caller: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const { capability, ...checked } = checkRequest(request);
  const args = JSON.stringify([checked, capability?.accessMode?.mode]);
  const passphrase = checked.context.encryption ? passphraseOf(`volume ${volumeId}`, request.secrets) : undefined;
  await deps.jobs.queue(
    { volumeId, operation: 'NodeStageVolume', args },
    (signal, step) => stageChecked(deps, volumeId, { ...checked, capability, passphrase, signal, ...timed(step) }),
    caller,
  );
}

function checkRequest(request: StageRequest) {
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  const usage = usageOf(request.volumeCapability);
  const context = parsePublishContext(request.publishContext);
  return { stagingPath, usage, context, capability: request.volumeCapability };
}

async function stageChecked(
  deps: Deps,
  volumeId: string,
  { capability, ...checked }: ReturnType<typeof checkRequest> & Pick<StageJob, 'passphrase' | 'signal' | 'step' | 'progress' | 'took'>,
): Promise<void> {
  const { context, usage, signal } = checked;
  const volume = await deps.volumes.get(volumeId, signal);
  if (!volume) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${volumeId}`);
  if (volume.metadata.uid !== context.volumeUID) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${volumeId} was deleted and created again since it was attached; attach it again`,
    );
  }
  if (volume.spec.encryption !== context.encryption) {
    const what = `encryption ${volume.spec.encryption ?? 'none'}, and was attached with ${context.encryption ?? 'none'}`;
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${volumeId} has ${what}; attach it again`);
  }
  checkPlace(volume, context, deps.nodeName);
  if (capability) checkAccess(volumeId, context.access, capability, usage);
  const record = await deps.staged.get(volumeId);
  const earlier = record?.volumeUID === context.volumeUID ? record : undefined;
  const owner: LockOwner = { node: deps.nodeName, nodeUID: earlier?.nodeUID ?? deps.nodeUID, volumeUID: context.volumeUID };
  const name = `volume ${volumeId} (${context.address}) on node ${deps.nodeName}`;
  const disk = deps.localDisk(context.address);
  await stageVolume(deps, { volumeId, name, volume, ...checked, owner, disk }, earlier);
}

/** @param earlier the record of an earlier staging of this volume on this node, which may have ended at any line */
async function stageVolume(deps: Deps, job: StageJob, earlier: StagedVolume | undefined): Promise<void> {
  const { name, volume, context, usage, signal } = job;
  await deps.freezes.end(job.volumeId, 'NodeStageVolume was called', signal);
  // The driver loads while the target is asked. Discovery must wait for the answer: it would take a second target at the address, which the
  // survey finds, for another path to the disk.
  const prepared = early(prepare(deps, signal));
  job.step('survey of the targets');
  const isAny = volume.spec.external?.serialChanges === true;
  const expected = isAny ? undefined : (context.serial ?? serialOf(volume));
  const survey = await deps.wire.survey(context.target, signal);
  const surveyed = oneRightDisk(name, survey, { serial: expected, external: context.external });
  const needsLock = context.access === 'Exclusive';
  const isUnbroken = needsLock && isLockUnbroken(survey.configs, job.owner, earlier);
  const isLost = needsLock && !context.external && !isUnbroken;
  // Nothing says that what has the disk open here belongs to this volume: another volume may have had the address before. Several volumes
  // without a lock may share an external target.
  const mayBeAnothers = earlier?.address !== context.address && !isUnbroken && (needsLock || !context.external);
  // Before the lock is taken: until then the target takes no writes from here, so neither stale data of this node can be written back,
  // nor can programs that still use another volume write to this one.
  job.step('lock');
  if (earlier && earlier.address !== context.address) await removeEarlierDisk(deps, job, earlier.address);
  await deps.removedDisks.cancel(context.address);
  const isNew = mayBeAnothers && (await isNewHere(deps, job, surveyed));
  if (mayBeAnothers && !isNew) await refuseUsed(job);
  else if (isLost && !isNew) await removeStale(deps, job);
  else {
    if (usage.kind === 'mount') await removeDeadMount(deps, job);
    await refuseOtherKind(job);
  }
  const since = lockTime();
  // The old locks and the new one, until it is known which of them holds: this call may end at any line.
  await recordStaged(deps, job, [...(isLost ? [] : (earlier?.locks ?? [])), since].slice(-MAX_LOCKS));
  if (needsLock) await takeLock(deps, job, since);
  // The record is written, and the volume read again, while the kernel attaches the disk. It is read again because another node may have
  // formatted the disk before this node took the lock.
  const recorded = early(recordStaged(deps, job, [since]));
  let device: Disk;
  let current: Promise<AoEVolume | undefined> | undefined;
  try {
    if (expected === undefined && volume.status?.serial !== surveyed.serial)
      await deps.volumes.record(volume, { serial: surveyed.serial }, signal);
    if (usage.kind === 'mount' || job.passphrase) current = early(deps.volumes.get(job.volumeId, signal));
    job.step('attach');
    device = await job.disk.attach(name, surveyed, { interfaceNames: await prepared, isNew, mustBeFresh: isLost || mayBeAnothers }, signal);
    await recorded;
    if (usage.kind === 'mount' && (await isMounted(deps, job, usage))) return;
  } catch (error) {
    // Once the lock is released and this call has ended, the next call may write the record.
    await Promise.allSettled([recorded]);
    await releaseAfterFailure(deps, job);
    throw error;
  }
  // From here on something of ours may be writing, even after a time-out: the lock is kept until NodeUnstageVolume.
  if (job.passphrase) device = await unlock(deps, job, job.passphrase, { device, volume: await current });
  if (usage.kind === 'mount') await mountFilesystem(deps, job, usage, { device, volume: await current });
  deps.log.info(
    { volume: job.volumeId, address: context.address, serial: surveyed.serial, device: device.path, kind: usage.kind, tookMs: job.took() },
    'volume staged',
  );
}

/** Whether the kernel's disk can be used as it is: it was made for this volume, and no other volume is known to have had it here. */
async function isNewHere({ staged }: Deps, { volumeId, disk, signal }: StageJob, surveyed: Surveyed): Promise<boolean> {
  return (await disk.isNew(surveyed, signal)) && (await staged.successor(volumeId, disk.address)) === undefined;
}

/**
 * Removes the disk at an address that is new to this volume, if the kernel has one and nobody uses it.
 * @throws RpcError FAILED_PRECONDITION while somebody uses it: the writes would go to this volume, once this node has its lock
 */
async function refuseUsed({ name, disk, signal }: StageJob): Promise<void> {
  const users = await disk.removeUnused(signal);
  if (users.length > 0) throw inUseAlready(name, users);
}

/**
 * Removes all that the kernel has of the disk, mounts and page cache. This node had lost the volume, and other hosts may have written
 * to it since: what is cached here would be written over their data.
 */
async function removeStale(deps: Deps, { name, volumeId, disk, stagingPath, signal }: StageJob): Promise<void> {
  try {
    const unmounted = await disk.unmountAll({ at: stagingPath }, signal);
    if (unmounted.length > 0)
      deps.log.warn(
        { volume: volumeId, address: disk.address, unmounted },
        'unmounted what was left from before this node lost the volume',
      );
    await disk.remove(signal);
  } catch (error) {
    if (!(error instanceof DiskInUseError)) throw error;
    const message = `${name}: ${error.message}. This node had lost the volume, so what it has cached of it must go first`;
    throw new RpcError(Code.FAILED_PRECONDITION, message, { cause: error });
  }
}

async function recordStaged({ staged }: Deps, { volumeId, context, stagingPath, owner }: StageJob, locks: string[]): Promise<void> {
  await staged.put(volumeId, {
    version: 1,
    volumeUID: context.volumeUID,
    address: context.address,
    access: context.access,
    external: context.external,
    ...(context.encryption ? { encrypted: true } : {}),
    ...(isAuthenticated(context) ? { authenticated: true } : {}),
    stagingPath,
    nodeUID: owner.nodeUID,
    ...(context.access === 'Exclusive' ? { locks } : {}),
  });
}

async function prepare({ driver, interfaces }: Deps, signal: AbortSignal): Promise<readonly string[]> {
  const names = await interfaces();
  await driver.prepare(names, signal);
  return names;
}
