import { SECTOR } from '../../aoe/mod.ts';
import type { Address } from '../../api/address.ts';
import { hasLimits, isSameLimits, limitNumbers } from '../../api/limits/limits.ts';
import { type AoEVolume, isCopiedAway, keepsSourceAddress, moveReport, movesOf, serialNumber, VolumeCondition } from '../../api/volume.ts';
import type { AccessPlan } from '../access/enforce.ts';
import { roundDown } from '../backends/backend.ts';
import { staleLock } from '../lock/holder.ts';
import type { TargetAccess, TargetVolume, TargetVolumeState } from '../target/api.ts';
import type { AvailableData } from './data.ts';
import { isOfEarlierPlace } from './moved.ts';
import { type Observed, sortedMacs } from './observe.ts';
import type { Outcome } from './outcome.ts';

const DATA_RETRY_MS = 15_000;
/** How often a copy that is under way is looked after. */
const COPY_RETRY_MS = 2_000;
/** How often the progress of the wipe of a new volume is reported. */
const WIPING_REPORT_MS = 30_000;
const NO_ADDRESS_RETRY_MS = 30_000;
const TARGET_RETRY_MS = 5_000;
/** How often the target is asked again for a change that waits for a disk. Longer than an answer is waited for: others need the worker. */
const DISK_RETRY_MS = 15_000;
const AT_ONCE_MS = 1;
/** How often a volume asks whether the target of its source, whose address it keeps, is silent. */
const SOURCE_PROBE_MS = 5_000;
/** For how long that target must be silent. Its host may be busy, or its link down for a moment, and then both would answer. */
const SOURCE_SILENCE_MS = 30_000;
/** How often it is looked whether a volume that is being moved is still served to the node that copies it. */
const LOAN_CHECK_MS = 30_000;
const TOO_OLD =
  'the target process on this node is of an earlier version, which cannot serve a volume for copies: delete the pod aoe-csi-target there, which starts the present one (I/O waits for a moment)';

/** Why the data of a volume that is not exported does not grow. */
export const NOT_EXPORTED = 'the volume is exported at its present size first';

/** What to find out before a plan is made. */
export interface Preparation {
  /** `open`: the data was made before. `create`: it may be made. */
  data: 'none' | 'open' | 'create';
  /** The address to probe. */
  probe: Address | undefined;
}

/**
 * What to find out about a volume before its plan is made.
 * @param isProbeDue whether the address of an exported volume is to be probed again
 */
export function planPreparation(
  volume: AoEVolume,
  { provisioned, exported, targetProblem, isRemoving }: Pick<Observed, 'provisioned' | 'exported' | 'targetProblem' | 'isRemoving'>,
  isProbeDue: boolean,
): Preparation {
  if (isRemoving || volume.metadata.deletionTimestamp || isPlaceRefused(volume, { provisioned, exported }))
    return { data: 'none', probe: undefined };
  return {
    data: provisioned || exported ? 'open' : 'create',
    probe: targetProblem === undefined && (!exported || isProbeDue) ? volume.spec.address : undefined,
  };
}

/**
 * Why the data of a volume must not grow now, although it may; undefined when nothing is in the way. The target must have the present
 * size first: it would serve the new part after a restart, even before that is wiped. A volume that is not exported is exported first,
 * since its growth may take hours.
 */
export function growthBarrier({
  exported,
  targetProblem,
  knowsExportedSize,
}: Pick<Observed, 'exported' | 'targetProblem' | 'knowsExportedSize'>): string | undefined {
  if (targetProblem !== undefined) return `the target process does not answer (${targetProblem})`;
  if (!knowsExportedSize)
    return 'the target on this node is of an earlier version, which cannot take a new size: replace its pod, as docs/upgrade.md, "Upgrade", says';
  if (!exported) return NOT_EXPORTED;
  return exported.volume.bytes === 0 ? 'the target is given the present size first' : undefined;
}

/** Why a volume is not exported now. */
export type Obstacle =
  | { because: 'place-refused'; message: string }
  | { because: 'target-away'; problem: string }
  | { because: 'data-pending' | 'no-data' | 'no-address' | 'not-probed' | 'stranger' }
  /** The target of its source, whose address it keeps, does not answer, but not for long enough. */
  | { because: 'silent-source' }
  /** Its data has a tail, which the target would export, too. */
  | { because: 'target-too-old' }
  | { because: 'probe-failed'; problem: string }
  /** Its data is to be copied to another place, and nobody can have it meanwhile. */
  | { because: 'moving'; message: string };

export type Plan =
  /** Leave the target as it is. `retryMs` is undefined when the end of the obstacle leads to a reconcile by itself. */
  | { action: 'wait'; obstacle: Obstacle; retryMs: number | undefined }
  /** Take a volume off the segment: it is unused, and another target answers at its address; or it is served as before a move. */
  | { action: 'withdraw'; obstacle: Obstacle; retryMs: number | undefined }
  /** `definition`: export the volume so, for the first time or again; undefined when the target serves it so. */
  | { action: 'serve'; definition: TargetVolume | undefined; access: AccessPlan }
  /** Serve the volume, whose data a move copies, to the node that copies it, and to nobody else. */
  | { action: 'lend'; definition: TargetVolume | undefined; to: string }
  /** `access`: what to enforce first; undefined when the target does not serve the volume, or its removal was begun. */
  | { action: 'remove'; access: AccessPlan | undefined };

/** What to do about a volume. Pure: the same arguments give the same plan. */
export function planVolume(volume: AoEVolume, seen: Observed): Plan {
  const { exported, targetProblem, data } = seen;
  // What was begun is ended, whatever the watch shows meanwhile, and whether the target answers or not.
  if (seen.isRemoving) return { action: 'remove', access: undefined };
  const dataRetryMs = data?.kind === 'copying' ? COPY_RETRY_MS : data && data.kind !== 'available' ? DATA_RETRY_MS : undefined;
  if (!volume.metadata.deletionTimestamp && isPlaceRefused(volume, seen)) {
    const { message = '' } = placedCondition(volume) ?? {};
    return { action: 'wait', obstacle: { because: 'place-refused', message }, retryMs: undefined };
  }
  if (targetProblem !== undefined)
    return { action: 'wait', obstacle: { because: 'target-away', problem: targetProblem }, retryMs: dataRetryMs };
  if (volume.metadata.deletionTimestamp) return { action: 'remove', access: exported && planAccess(volume, seen) };
  // Its lock and its hosts are those of an earlier place, and a target changes neither address nor serial number.
  if (exported && isOfEarlierPlace(volume, exported))
    return { action: 'withdraw', obstacle: { because: 'not-probed' }, retryMs: AT_ONCE_MS };
  const { move } = volume.spec;
  if (isCopiedAway(volume) && move) return planLoan(volume, move.nodeName, seen);
  // It was given up, or is here: hosts get it again as any other.
  if (exported?.volume.forCopies) return { action: 'withdraw', obstacle: { because: 'not-probed' }, retryMs: AT_ONCE_MS };
  const mustWithdraw = exported !== undefined && hasStranger(seen) && !isUsed(exported);
  if (!exported || mustWithdraw) {
    const action = mustWithdraw ? 'withdraw' : 'wait';
    if (!data) return { action, obstacle: { because: 'data-pending' }, retryMs: seen.wiping && WIPING_REPORT_MS };
    if (data.kind === 'copying') return { action, obstacle: { because: 'no-data' }, retryMs: COPY_RETRY_MS };
    if (data.kind !== 'available') return { action, obstacle: { because: 'no-data' }, retryMs: DATA_RETRY_MS };
    if (isTooOldFor(data, seen)) return { action, obstacle: { because: 'target-too-old' }, retryMs: NO_ADDRESS_RETRY_MS };
    if (!volume.spec.address) return { action, obstacle: { because: 'no-address' }, retryMs: NO_ADDRESS_RETRY_MS };
    // The target served it when this reconcile began: an address is always probed before it is served again.
    if (!seen.probe) return { action, obstacle: { because: 'not-probed' }, retryMs: AT_ONCE_MS };
    if ('error' in seen.probe)
      return { action, obstacle: { because: 'probe-failed', problem: seen.probe.error }, retryMs: TARGET_RETRY_MS };
    const awaits = !exported && awaitsSource(volume);
    if (seen.probe.stranger) return { action, obstacle: { because: 'stranger' }, retryMs: awaits ? SOURCE_PROBE_MS : seen.nextProbeMs };
    if (awaits && (seen.silentMs ?? 0) < SOURCE_SILENCE_MS)
      return { action, obstacle: { because: 'silent-source' }, retryMs: SOURCE_PROBE_MS };
  }
  const access = planAccess(volume, seen);
  return { action: 'serve', definition: planExport(volume, seen, access.access), access };
}

/**
 * What to do about a volume whose data is copied to another place. The data stands still: it is taken off the segment first, which ends what a
 * host could do with it. Then the node that copies it may read it, where that is another one.
 */
function planLoan(volume: AoEVolume, to: string, seen: Observed): Plan {
  const { exported, data, probe } = seen;
  const waits = (message: string, retryMs: number): Plan => ({ action: 'wait', obstacle: { because: 'moving', message }, retryMs });
  if (exported && !exported.volume.forCopies) {
    // Hosts that the spec does not name lose access first, and with it their locks.
    if (isUsed(exported)) return { action: 'serve', definition: undefined, access: planAccess(volume, seen) };
    return { action: 'withdraw', obstacle: { because: 'moving', message: 'it was taken off the segment' }, retryMs: AT_ONCE_MS };
  }
  if (to === volume.spec.nodeName) return waits(`its data is copied to pool ${volume.spec.move?.pool} on this node`, LOAN_CHECK_MS);
  const macs = [...new Set(moveReport(volume)?.macs?.map((mac) => mac.toLowerCase()))].sort();
  if (macs.length === 0) return waits(`the agent on node ${to} has not said yet with which MAC addresses it reads`, LOAN_CHECK_MS);
  if (!seen.knowsForCopies) return waits(TOO_OLD, LOAN_CHECK_MS);
  if (!data) return waits('its data is being opened', TARGET_RETRY_MS);
  if (data.kind !== 'available') return waits('its data cannot be read: see condition Provisioned', DATA_RETRY_MS);
  if (!exported) {
    if (!probe) return waits('its address is asked for', AT_ONCE_MS);
    if ('error' in probe) return { action: 'wait', obstacle: { because: 'probe-failed', problem: probe.error }, retryMs: TARGET_RETRY_MS };
    if (probe.stranger) return { action: 'wait', obstacle: { because: 'stranger' }, retryMs: seen.nextProbeMs };
  }
  const { uid = '' } = volume.metadata;
  const { shelf, slot } = volume.spec.address ?? { shelf: 0, slot: 0 };
  const wanted: TargetVolume = {
    ...{ uid, shelf, slot, macs, path: data.path, serial: serialNumber(uid, movesOf(volume)) },
    ...{ readOnly: true, bytes: roundDown(data.bytes, SECTOR), writesNeedLock: false, forCopies: true },
  };
  const isServed =
    exported?.error === '' && exported.volume.path === wanted.path && sortedMacs(exported.volume.macs).join() === macs.join();
  return { action: 'lend', definition: isServed ? undefined : wanted, to };
}

/** After how many milliseconds the volume is to be reconciled again; undefined when a change will lead to that. */
export function retryMsOf(
  plan: Plan,
  { error, confirmed, removal }: Outcome,
  { data, exported, nextProbeMs }: Observed,
): number | undefined {
  if (error) return error.reason === 'waits' ? DISK_RETRY_MS : TARGET_RETRY_MS;
  if (removal?.outcome === 'waiting') return removal.retryMs;
  if (plan.action === 'lend') return LOAN_CHECK_MS;
  if (plan.action !== 'serve') return plan.action === 'remove' ? undefined : plan.retryMs;
  if ((confirmed ?? exported)?.error) return Math.min(TARGET_RETRY_MS, nextProbeMs);
  return data && data.kind !== 'available' ? Math.min(DATA_RETRY_MS, nextProbeMs) : nextProbeMs;
}

/** Whether a host may be using the volume: one is admitted, or its config string is set. */
export function isUsed({ volume, configString }: TargetVolumeState): boolean {
  return volume.macs.length > 0 || configString.length > 0;
}

/** Whether a volume has limits that its target does not know: it is of an earlier version. */
export function lacksLimits({ spec }: AoEVolume, { knowsLimits }: Pick<Observed, 'knowsLimits'>): boolean {
  return !knowsLimits && hasLimits(limitNumbers(spec.limits));
}

/** Whether a volume keeps the address of the disk it is a copy of, and was never exported there: another target that answers is that one. */
export function awaitsSource(volume: AoEVolume): boolean {
  return keepsSourceAddress(volume) && volume.status?.serial === undefined && movesOf(volume) === 0;
}

export function hasStranger({ probe }: Pick<Observed, 'probe'>): boolean {
  return probe !== undefined && 'stranger' in probe && probe.stranger !== undefined;
}

/** Whether the operator says that the address is another volume's: the spec was copied. Nothing is made until that is settled. */
function isPlaceRefused(volume: AoEVolume, { provisioned, exported }: Pick<Observed, 'provisioned' | 'exported'>): boolean {
  const placed = placedCondition(volume);
  return placed?.status === 'False' && placed.reason === 'AddressTaken' && !exported && !provisioned;
}

function placedCondition({ status }: AoEVolume) {
  return status?.conditions?.find(({ type }) => type === VolumeCondition.Placed);
}

function planAccess(volume: AoEVolume, { exported, access: desired, knowsWritesNeedLock }: Observed): AccessPlan {
  const admitted = sortedMacs(exported?.volume.macs ?? []);
  const macs = desired.refused ? admitted : desired.macs;
  const { uid: volumeUID = '' } = volume.metadata;
  const wanted = volume.spec.initiators?.nodes ?? [];
  const lock = exported && !desired.refused ? staleLock(exported.configString, { volumeUID, wanted, admitted: desired.nodes }) : undefined;
  return {
    access: { macs, writesNeedLock: needsLock(volume) && knowsWritesNeedLock },
    cutOff: admitted.filter((mac) => !macs.includes(mac)),
    staleLock: exported && lock && { lock, configString: exported.configString },
  };
}

/**
 * Whether the target takes writes only while the lock is held. A node takes the lock of an Exclusive volume before it writes, so
 * one that was cut off and is admitted again has dropped its stale writes by then. Hosts in spec.initiators.macs know no lock.
 */
function needsLock({ spec }: AoEVolume): boolean {
  return spec.access === 'Exclusive' && (spec.initiators?.macs ?? []).length === 0;
}

/** The definition to export; undefined when the target serves the volume so, or there is no data to serve. */
function planExport(
  volume: AoEVolume,
  { exported, data, isReopenDue, knowsExportedSize, knowsLimits, knowsReclaim, keepsZeros }: Observed,
  access: TargetAccess,
): TargetVolume | undefined {
  // Data that is gone stays as it is at the target, too: its loss may be a mistake that is being corrected.
  if (data?.kind !== 'available' || isTooOldFor(data, { knowsExportedSize })) return undefined;
  const { uid = '' } = volume.metadata;
  const { shelf, slot } = volume.spec.address ?? { shelf: 0, slot: 0 };
  const readOnly = volume.spec.access === 'ReadOnlyMany';
  const bytes = knowsExportedSize ? roundDown(data.bytes, SECTOR) : 0;
  const serial = serialNumber(uid, movesOf(volume));
  const wanted: TargetVolume = {
    ...{ uid, shelf, slot, path: data.path, serial, readOnly, bytes, ...access },
    ...(knowsLimits ? { limits: limitNumbers(volume.spec.limits) } : {}),
    ...(knowsReclaim && data.reclaims && !keepsZeros && !readOnly ? { reclaim: true as const } : {}),
  };
  if (!exported || !sameExport(exported, wanted)) return wanted;
  // A target without `exported_size` reads the size of the disk at each export.
  const hasGrown = !knowsExportedSize && exported.bytes > 0 && exported.bytes < data.bytes;
  return (exported.error || hasGrown) && isReopenDue ? wanted : undefined;
}

/** Whether the target would export the tail of the data: it is of an earlier version, and exports all that a device has. */
function isTooOldFor({ tail }: AvailableData, { knowsExportedSize }: Pick<Observed, 'knowsExportedSize'>): boolean {
  return tail === true && !knowsExportedSize;
}

/** Whether a volume is exported as wanted, and not smaller. The admitted initiators are compared elsewhere. */
function sameExport({ volume }: TargetVolumeState, wanted: TargetVolume): boolean {
  return (
    volume.shelf === wanted.shelf &&
    volume.slot === wanted.slot &&
    volume.path === wanted.path &&
    volume.serial === wanted.serial &&
    volume.readOnly === wanted.readOnly &&
    volume.bytes >= wanted.bytes &&
    volume.reclaim === wanted.reclaim &&
    (!wanted.limits || isSameLimits(volume.limits ?? limitNumbers(undefined), wanted.limits))
  );
}
