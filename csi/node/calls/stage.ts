import { type LockOwner, lockTime } from '../../../aoe/mod.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Content, Disk, Filesystems } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { checkSerial, oneRightDisk, type Surveyed } from '../disk/identity.ts';
import { clearStale } from '../disk/stale-mount.ts';
import { removeDisk, unmountEverywhere } from '../disk/take-down.ts';
import { mountOrFormat } from '../filesystem/format-rule.ts';
import { heldAllTheTime } from '../lock/continuity.ts';
import { type PublishContext, parsePublishContext } from './publish-context.ts';
import type { StageRequest } from './requests.ts';
import { checkAccess, type Usage, usageOf } from './usage.ts';

/** Time for the kernel driver to find a disk that answers on the wire. */
const ATTACH_MS = 10_000;
/** Times of locks that are remembered: each attempt adds one, and success leaves one. */
const MOST_LOCKS = 8;

interface Job {
  readonly volumeId: string;
  /** How messages name it. */
  readonly name: string;
  readonly volume: AoEVolume;
  readonly context: PublishContext;
  readonly usage: Usage;
  readonly stagingPath: string;
  readonly owner: LockOwner;
  readonly signal: AbortSignal;
}

/**
 * NodeStageVolume: lock, discover, compare serials, format an empty disk, mount. Can be repeated at any point.
 * Nothing is written to a disk before its serial was seen twice: on the wire, and by the kernel.
 */
export async function stage(deps: Deps, request: StageRequest, signal: AbortSignal): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const checked = checkRequest(request);
  await deps.busy.run(volumeId, 'NodeStageVolume', () => stageInTurn(deps, volumeId, checked, signal));
}

/** Stages anew what was taken from this node, which the kubelet does not know: it would publish without staging, for ever. Call it in the volume's turn. */
export async function stageAgain(deps: Deps, volumeId: string, request: StageRequest, signal: AbortSignal): Promise<void> {
  deps.log.info({ volume: volumeId }, 'staging a volume again that this node had lost');
  await stageInTurn(deps, volumeId, checkRequest(request), signal);
}

type Checked = ReturnType<typeof checkRequest>;

function checkRequest(request: StageRequest) {
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  const usage = usageOf(request.volumeCapability);
  const context = parsePublishContext(request.publishContext);
  return { stagingPath, usage, context, capability: request.volumeCapability };
}

async function stageInTurn(
  deps: Deps,
  volumeId: string,
  { stagingPath, usage, context, capability }: Checked,
  signal: AbortSignal,
): Promise<void> {
  const volume = await deps.volumes.get(volumeId, signal);
  if (!volume) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${volumeId}`);
  if (volume.metadata.uid !== context.volumeUID) {
    throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${volumeId} was deleted and made anew since it was attached; attach it again`);
  }
  if (capability) checkAccess(volumeId, context.access, capability, usage);
  const name = `volume ${volumeId} (${context.address}) on node ${deps.nodeName}`;
  await stageVolume(deps, { volumeId, name, volume, context, usage, stagingPath, signal });
}

async function stageVolume(deps: Deps, given: Omit<Job, 'owner'>): Promise<void> {
  const { name, volume, context, usage, stagingPath, signal } = given;
  // The driver loads while we talk to the target. It does not look for disks yet: it would take a stranger at the address,
  // whom we are about to find, for another path to the disk.
  const ready = prepare(deps, signal);
  ready.catch(() => {});
  const expected = context.serial ?? volume.status?.serial ?? volume.spec.external?.serial;
  const survey = await deps.wire.survey(context.target, signal);
  const surveyed = oneRightDisk(name, survey, { serial: expected, external: context.external });
  const previous = await deps.staged.get(given.volumeId);
  const same = previous?.volumeUID === context.volumeUID ? previous : undefined;
  const nodeUID = same?.nodeUID ?? deps.nodeUID;
  const job: Job = { ...given, owner: { node: deps.nodeName, nodeUID, volumeUID: context.volumeUID } };
  const locks = context.access === 'Exclusive';
  const lost = locks && !context.external && !heldAllTheTime(survey.configs, job.owner, same);
  // Before the lock is taken: until then the target takes no writes, so what is left here cannot be written back.
  if (lost && same) await startAfresh(deps, job);
  const since = lockTime();
  const record = (times: string[]) =>
    deps.staged.put(job.volumeId, {
      version: 1,
      volumeUID: context.volumeUID,
      address: context.address,
      access: context.access,
      external: context.external,
      stagingPath,
      nodeUID,
      ...(locks ? { locks: times } : {}),
    });
  // Both times, until it is known which holds: this may end at any line.
  await record([...(lost ? [] : (same?.locks ?? [])), since].slice(-MOST_LOCKS));
  if (locks) await lock(deps, job, since);
  let disk: Disk;
  try {
    await record([since]);
    if (expected === undefined) await deps.volumes.record(volume, { serial: surveyed.serial }, signal);
    const interfaceNames = await ready;
    disk = await attach(deps, job, surveyed, interfaceNames);
    if (lost && (await deps.driver.busy(context.address, signal)))
      throw new RpcError(
        Code.FAILED_PRECONDITION,
        `${name}: the disk is in use on this node already, by a program or a mount that is not of this volume`,
      );
    if (usage.kind === 'mount' && (await alreadyMounted(deps, job, usage, disk))) return;
  } catch (error) {
    await unlockAfterFailure(deps, job);
    throw error;
  }
  // From here on something of ours may be writing, even after a time-out: the lock is kept until NodeUnstageVolume.
  if (usage.kind === 'mount') await mount(deps, job, usage, disk);
  deps.log.info(
    { volume: job.volumeId, address: context.address, serial: surveyed.serial, device: disk.path, kind: usage.kind },
    'volume staged',
  );
}

/**
 * The node had lost the disk: others may have written to it since. Whatever the kernel still has of it, mounts and cache, is of
 * before, and would be written over theirs.
 */
async function startAfresh(deps: Deps, { volumeId, context, stagingPath, signal }: Job): Promise<void> {
  const { address } = context;
  const removed = await unmountEverywhere(deps, { address, stagingPath }, false, signal);
  if (removed.length > 0)
    deps.log.warn({ volume: volumeId, address, unmounted: removed }, 'unmounted what was left from before the volume was lost');
  await removeDisk(deps, address, signal);
}

async function lock(deps: Deps, { name, volume, context, owner, signal }: Job, since: string): Promise<void> {
  const result = await deps.wire.acquire(context.target, owner, since, signal);
  switch (result.outcome) {
    case 'held': {
      const { node, nodeUID, since } = result.lock;
      // Of our own targets the agent tells the holder.
      if (context.external) await deps.volumes.record(volume, { holder: { name: node, node, nodeUID, since, raw: result.raw } }, signal);
      return;
    }
    case 'foreign': {
      const { lock: theirs, raw } = result.holder;
      const who = theirs
        ? `node ${theirs.node} since ${theirs.since}${theirs.volumeUID === context.volumeUID ? '' : `, for volume ${theirs.volumeUID}`}`
        : `somebody who wrote "${raw}"`;
      throw new RpcError(Code.FAILED_PRECONDITION, `${name} is in use: the lock is held by ${who}`);
    }
    case 'refused':
      throw new RpcError(Code.FAILED_PRECONDITION, `${name}: the target refuses the lock with AoE error ${result.error}`);
    case 'unanswered':
      throw new RpcError(
        Code.UNAVAILABLE,
        `${name}: the target stopped answering while the lock was taken; is the storage node in trouble?`,
      );
  }
}

/** A later stage takes the lock again; until then nobody shall be kept out by a stage that failed, unless a pod has the disk already. */
async function unlockAfterFailure(deps: Deps, { volumeId, context, stagingPath, owner }: Job): Promise<void> {
  const { address } = context;
  const disk = await deps.driver.disk(address);
  const mounts = await deps.mounter.list();
  const used = mounts.some(
    ({ target, root, device }) => target === stagingPath || root === `/etherd/${address}` || device === disk?.device,
  );
  if (context.access !== 'Exclusive' || used) return;
  const result = await deps.wire
    .release(context.target, owner, AbortSignal.timeout(5_000))
    .catch((error: unknown) => ({ outcome: messageOf(error) }));
  if (result.outcome !== 'released') deps.log.warn({ volume: volumeId, outcome: result.outcome }, 'lock not released after a failed stage');
}

async function prepare({ driver, interfaces }: Deps, signal: AbortSignal): Promise<readonly string[]> {
  const names = await interfaces();
  await driver.prepare(names, signal);
  return names;
}

/** Brings the disk into the kernel and makes sure that the kernel has the right one. */
async function attach(
  deps: Deps,
  { name, context, signal }: Job,
  { serial, bytes }: Surveyed,
  interfaceNames: readonly string[],
): Promise<Disk> {
  await forget(deps, context.address, signal);
  let found = '';
  for (const attempt of [1, 2]) {
    const disk = await deps.driver.attach(context.address, { timeoutMs: ATTACH_MS, bytes, signal });
    if (!disk) {
      throw new RpcError(
        Code.UNAVAILABLE,
        `${name}: the target answers, but the kernel's aoe driver did not find the disk on ${interfaceNames.join(', ')} within ${ATTACH_MS / 1000} s (state: ${(await deps.driver.state(context.address)) ?? 'unknown disk'}); see dmesg`,
      );
    }
    found = await deps.driver.serial(context.address, signal);
    if (found === serial) return disk;
    if (attempt === 1) await forget(deps, context.address, signal);
  }
  checkSerial(name, found, serial);
  throw new RpcError(Code.INTERNAL, `${name}: the kernel's disk could not be checked`);
}

/**
 * Lets the kernel forget what it knows of an address, unless the disk is in use: it may remember a disk that had the address
 * before, or paths to targets that are gone, and sends to all paths in turn.
 */
async function forget({ driver, mounter }: Deps, address: string, signal: AbortSignal): Promise<void> {
  if (!(await driver.disk(address)) || (await driver.busy(address, signal))) return;
  const published = (await mounter.list()).some((each) => each.root === `/etherd/${address}`);
  if (!published) await driver.flush(address, signal);
}

/** True when it is mounted as asked for. A mount of another or a dead disk is removed. */
async function alreadyMounted(
  deps: Deps,
  { name, stagingPath, signal }: Job,
  usage: Usage & { kind: 'mount' },
  disk: Disk,
): Promise<boolean> {
  const present = await clearStale(deps, stagingPath, disk.device, signal);
  if (!present) return false;
  const readOnly = present.options.includes('ro');
  // The kernel made it read-only after errors, say of a target that was away too long: a fresh mount is as good as new.
  if (!readOnly && !usage.readOnly && present.superOptions.includes('ro')) {
    deps.log.warn({ target: stagingPath, source: present.source }, 'removing a mount that failed');
    await deps.mounter.unmount(stagingPath, { signal });
    return false;
  }
  if (present.type !== usage.type || readOnly !== usage.readOnly) {
    throw new RpcError(
      Code.ALREADY_EXISTS,
      `${name} is staged already, as ${present.type} ${readOnly ? 'read-only' : 'read-write'}, but ${usage.type} ${usage.readOnly ? 'read-only' : 'read-write'} was asked for`,
    );
  }
  return true;
}

async function mount(
  deps: Deps,
  { name, volumeId, context, stagingPath, signal }: Job,
  usage: Usage & { kind: 'mount' },
  disk: Disk,
): Promise<void> {
  const { filesystems, volumes, mounter, nodeName } = deps;
  // Again, now that the lock is ours: another node may have formatted it since it was first read.
  const volume = await volumes.get(volumeId, signal);
  if (volume?.metadata.uid !== context.volumeUID) throw new RpcError(Code.ABORTED, `${name}: the AoEVolume was deleted meanwhile`);
  const { content, blank } = await look(filesystems, disk, signal);
  // Mounted elsewhere already, by a pod that outlived its staging mount: neither format nor check can run.
  const inUse = await deps.driver.busy(context.address, signal);
  const shared = context.access !== 'Exclusive';
  const decision = mountOrFormat({
    name,
    content,
    blank,
    recorded: volume.status?.filesystem,
    wanted: usage.type,
    readOnly: usage.readOnly || shared,
    locked: !shared,
  });
  if (decision === 'format' && inUse) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `${name}: the disk is in use on this node, but holds no ${usage.type}; it is not formatted`,
    );
  }
  if (decision === 'format') {
    deps.log.info({ volume: volume.metadata.name, type: usage.type, device: disk.path }, 'formatting an empty disk');
    // Not when this took long, and the disk is another node's by now: it would be formatted once more.
    const before = volume.status?.filesystem;
    const still = ({ spec, status }: AoEVolume): boolean =>
      status?.filesystem?.state === before?.state && (context.external || spec.initiators.nodes?.includes(nodeName) === true);
    await volumes.record(volume, { filesystem: { type: usage.type, state: 'Formatting' } }, signal, still);
    await filesystems.format(disk.path, usage.type, signal);
    await volumes.record(volume, { filesystem: { type: usage.type, state: 'Formatted' } }, signal);
  } else if (!usage.readOnly && !inUse) {
    await filesystems.check(disk.path, usage.type, signal);
  }
  // Where others may read at the same time, even the journal must not be replayed.
  const quiet = usage.type === 'xfs' ? 'norecovery' : 'noload';
  const options = [...usage.flags, ...(usage.readOnly ? ['ro'] : []), ...(shared ? [quiet] : [])];
  await mounter.mount(disk.path, stagingPath, { type: usage.type, options, signal });
}

async function look(filesystems: Filesystems, disk: Disk, signal: AbortSignal): Promise<{ content: Content; blank: boolean }> {
  const content = await filesystems.probe(disk.path, signal);
  if (content.kind !== 'nothing') return { content, blank: false };
  if (await filesystems.blank(disk, signal)) return { content, blank: true };
  // blkid says "nothing" after a read error, too. Now that the disk can be read, ask again.
  return { content: await filesystems.probe(disk.path, signal), blank: false };
}
