import { messageOf } from '../../kube/mod.ts';
import type { Instant } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';

/** A snapshot takes milliseconds. To the hosts of the volume a hold is a disk that does not answer: after this it ends by itself. */
const HOLD_LIMIT_MS = 10_000;

/** Reasons, as conditions carry them. */
export type NoInstantReason = 'TargetUnavailable' | 'TargetTooOld' | 'NotHeld';

/** The volume could not be held still: there is no snapshot, and the next attempt may succeed. */
export class NoInstantError extends Error {
  readonly reason: NoInstantReason;

  constructor(reason: NoInstantReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'NoInstantError';
    this.reason = reason;
  }
}

export type Holder = Pick<TargetConnection, 'connected' | 'problem' | 'state' | 'supports' | 'hold' | 'release'>;

/**
 * The instant of a volume on this node: the target holds its writes back while the snapshot is made. A volume that the target does not
 * serve has no writes.
 * @param volumeUID metadata.uid of the AoEVolume
 * @returns an {@link Instant} that throws NoInstantError
 */
export function instantOf(target: Holder, volumeUID: string, signal: AbortSignal): Instant {
  return async (make) => {
    if (!target.connected) throw new NoInstantError('TargetUnavailable', `the target process does not answer: ${target.problem}`);
    if (!target.state(volumeUID)) {
      const at = new Date();
      await make();
      if (target.connected && !target.state(volumeUID)) return at;
      throw new NoInstantError('NotHeld', 'the volume was exported while the snapshot was taken; it is taken again');
    }
    if (!target.supports('hold')) {
      const message =
        'the target process on this node is of an earlier version, which cannot hold a volume still: delete the pod aoe-csi-target there, which starts the present one (I/O waits for a moment)';
      throw new NoInstantError('TargetTooOld', message);
    }
    const hold = await translated(() => target.hold(volumeUID, HOLD_LIMIT_MS, signal));
    const at = new Date();
    try {
      await make();
    } catch (error) {
      // It ends by itself, too.
      await target.release(volumeUID, hold, signal).catch(() => {});
      throw error;
    }
    const heldThroughout = await translated(() => target.release(volumeUID, hold, signal));
    if (heldThroughout) return at;
    const message = `writes went on before the snapshot was made: the target held them back for ${HOLD_LIMIT_MS / 1000} s at most, or was restarted; the snapshot is taken again`;
    throw new NoInstantError('NotHeld', message);
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
