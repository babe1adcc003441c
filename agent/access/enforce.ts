import type { LockText } from '../../aoe/mod.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { LockEvents } from '../lock/events.ts';
import { type TargetAccess, TargetError, type TargetVolumeState } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';

/** What to change about the initiators that the target admits, and about the lock. */
export interface AccessPlan {
  access: TargetAccess;
  /** MAC addresses that are admitted now, and are not to be. */
  cutOff: readonly string[];
  /** The lock of a node that is not to be admitted, to be cleared if the config string still is this one. */
  staleLock: { lock: LockText; configString: Uint8Array } | undefined;
}

export interface EnforceContext {
  target: Pick<TargetConnection, 'setAccess' | 'replaceConfigString' | 'isAnswered'>;
  lockEvents: Pick<LockEvents, 'fenced' | 'cleared'>;
}

/** The volume as the API server has it now, which may be newer than what the watch has shown; undefined when it is gone, or placed on another node. */
export type ReadVolume = (volume: AoEVolume, signal: AbortSignal) => Promise<AoEVolume | undefined>;

/**
 * Whether a plan may be carried out. One that cuts off an initiator, or clears a lock, must not come from an old view of the
 * volume: the API server itself is asked. When it has a newer spec, the watch brings that, and with it the next reconcile.
 */
export async function isCurrent(volume: AoEVolume, plan: AccessPlan, read: ReadVolume, signal: AbortSignal): Promise<boolean> {
  if (plan.cutOff.length === 0 && !plan.staleLock) return true;
  const now = await read(volume, signal);
  return now !== undefined && isSame(initiatorsOf(now), initiatorsOf(volume));
}

/**
 * Makes the target admit the planned initiators and no others, then clears a stale lock. Costs no call when all is as it should be, and the
 * target has answered this agent.
 * @param state the volume as the target serves it
 * @returns the volume as the target serves it then, and whether a lock was cleared
 * @throws TargetError
 */
export async function enforceAccess(
  { target, lockEvents }: EnforceContext,
  volume: AoEVolume,
  { access, cutOff, staleLock }: AccessPlan,
  state: TargetVolumeState,
  signal: AbortSignal,
): Promise<{ state: TargetVolumeState; lockCleared: boolean }> {
  const { uid = '' } = volume.metadata;
  let next = state;
  const macs = state.volume.macs.map((mac) => mac.toLowerCase()).sort();
  const isAsWanted = isSame(macs, access.macs) && state.volume.writesNeedLock === access.writesNeedLock;
  if (!isAsWanted || !target.isAnswered(uid)) next = await target.setAccess(uid, access, signal);
  if (!staleLock) return { state: next, lockCleared: false };
  const { lock, configString } = staleLock;
  if (cutOff.length > 0) lockEvents.fenced(volume, lock);
  try {
    next = await target.replaceConfigString(uid, configString, new Uint8Array(), signal);
  } catch (error) {
    // The config string has just changed, and that change leads to the next reconcile.
    if (!(error instanceof TargetError) || error.reason !== 'precondition') throw error;
    return { state: next, lockCleared: false };
  }
  lockEvents.cleared(volume, lock);
  return { state: next, lockCleared: true };
}

function initiatorsOf({ spec }: AoEVolume): string[] {
  return [...(spec.initiators?.nodes ?? []), ...(spec.initiators?.macs ?? [])].sort();
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}
