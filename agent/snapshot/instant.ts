import { randomInt } from 'node:crypto';
import { messageOf } from '../../kube/mod.ts';
import type { Instant } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';

/** A snapshot takes milliseconds. To the hosts of the volume a hold is a disk that does not answer: after this it ends by itself. */
const HOLD_LIMIT_MS = 10_000;
const RELEASE_LIMIT_MS = 5_000;
const TOO_OLD =
  'the target process on this node is of an earlier version, which cannot hold a volume still: delete the pod aoe-csi-target there, which starts the present one (I/O waits for a moment)';

/** Reasons, as conditions carry them. */
export type NoInstantReason = 'TargetUnavailable' | 'TargetTooOld' | 'NotHeld' | 'NotFrozen' | 'FreezeUnsupported';

/** The volume could not be held still: there is no snapshot, and the next attempt may succeed. */
export class NoInstantError extends Error {
  readonly reason: NoInstantReason;
  /** After how many milliseconds it is tried again; undefined: as the reason says. */
  readonly retryMs: number | undefined;

  constructor(reason: NoInstantReason, message: string, options?: { cause?: unknown; retryMs?: number }) {
    super(message, options);
    this.name = 'NoInstantError';
    this.reason = reason;
    this.retryMs = options?.retryMs;
  }
}

export type Holder = Pick<TargetConnection, 'connected' | 'problem' | 'state' | 'supports' | 'hold' | 'release'>;

/** A volume that is held still. */
export interface HeldVolume {
  /** Number of the hold. */
  readonly number: number;
  /** When it began. */
  readonly since: Date;
  /**
   * Ends the hold, when it was not ended before.
   * @throws NoInstantError unless it lasted until now, without a break
   */
  release(): Promise<void>;
}

/**
 * Holds a volume on this node: the target keeps its writes back until the release, or for 10 s. A volume that the target does not serve has
 * no writes; its number is not the target's.
 * @param volumeUID metadata.uid of the AoEVolume
 * @throws NoInstantError
 */
export async function holdVolume(target: Holder, volumeUID: string, signal: AbortSignal): Promise<HeldVolume> {
  const problem = holdProblem(target, volumeUID);
  if (problem) throw problem;
  if (!target.state(volumeUID)) return unexported(target, volumeUID);
  const number = await translated(() => target.hold(volumeUID, HOLD_LIMIT_MS, signal));
  let released: Promise<void> | undefined;
  const release = async (): Promise<void> => {
    // Also after an abort: writes must not wait for the limit.
    const heldThroughout = await translated(() => target.release(volumeUID, number, AbortSignal.timeout(RELEASE_LIMIT_MS)));
    if (heldThroughout) return;
    const message = `writes went on before the snapshot was made: the target held them back for ${HOLD_LIMIT_MS / 1000} s at most, or was restarted; the snapshot is taken again`;
    throw new NoInstantError('NotHeld', message);
  };
  return { number, since: new Date(), release: () => (released ??= release()) };
}

function unexported(target: Holder, volumeUID: string): HeldVolume {
  const release = async (): Promise<void> => {
    if (target.connected && !target.state(volumeUID)) return;
    throw new NoInstantError('NotHeld', 'the volume was exported while the snapshot was taken; it is taken again');
  };
  return { number: randomInt(2 ** 47), since: new Date(), release };
}

/** Why a volume cannot be held that the target serves; undefined when it can. */
export function holdProblem(target: Holder, volumeUID: string): NoInstantError | undefined {
  if (!target.connected) return new NoInstantError('TargetUnavailable', `the target process does not answer: ${target.problem}`);
  return target.state(volumeUID) && !target.supports('hold') ? new NoInstantError('TargetTooOld', TOO_OLD) : undefined;
}

/**
 * The instant of a volume on this node: the target holds its writes back while the snapshot is made.
 * @param volumeUID metadata.uid of the AoEVolume
 * @returns an {@link Instant} that throws NoInstantError
 */
export function instantOf(target: Holder, volumeUID: string, signal: AbortSignal): Instant {
  return async (make) => {
    const held = await holdVolume(target, volumeUID, signal);
    try {
      await make();
    } catch (error) {
      // It ends by itself, too.
      await held.release().catch(() => {});
      throw error;
    }
    await held.release();
    return held.since;
  };
}

async function translated<R>(call: () => Promise<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    const reason = error.reason === 'unavailable' ? 'TargetUnavailable' : 'NotHeld';
    throw new NoInstantError(reason, `the target did not hold the volume still: ${messageOf(error)}`, { cause: error });
  }
}
