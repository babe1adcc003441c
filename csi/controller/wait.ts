import type { AoEVolume } from '../../api/volume.ts';
import { TimeoutError } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';
import { readiness } from './volumes.ts';

/** Limit of a wait when the caller names none: the sidecars give up after 60 s. */
const LONGEST_MS = 50_000;
/** We answer this long before the caller gives up: our message says more than its own. */
const AHEAD_MS = 500;
/** A volume that is in trouble for so long is reported at once, and not when the time is over. */
const PATIENCE_MS = 5_000;

/** How long a call may still wait, in milliseconds. */
export function timeLeft({ deadline }: Call): number {
  return Math.max(0, Math.min(LONGEST_MS, deadline - Date.now() - AHEAD_MS));
}

export interface Wait<R> {
  /** What is waited for, as in "waits for …". */
  readonly what: string;
  /** Asked with each state of exactly this volume; undefined: wait on. */
  readonly until: (volume: AoEVolume) => R | undefined;
}

/**
 * Waits for a volume to come into a state, on the watch.
 * @throws RpcError DEADLINE_EXCEEDED, UNAVAILABLE when the volume is in trouble, ABORTED when it was deleted; each of them tells a
 * caller that the volume may exist
 */
export async function waitFor<R>(deps: Deps, volume: AoEVolume, { what, until }: Wait<R>, call: Call): Promise<R> {
  const { name, uid } = volume.metadata;
  let last: AoEVolume | undefined;
  const decide = (now: AoEVolume | undefined): R | undefined => {
    if (now?.metadata.uid !== uid) {
      // Not seen yet: the watch is a little late. Seen before: it is gone.
      if (last) throw new RpcError(Code.ABORTED, `AoEVolume ${name} was deleted while the call waited for ${what}`);
      return undefined;
    }
    last = now;
    return now && until(now);
  };
  const left = timeLeft(call);
  const patience = Math.min(PATIENCE_MS, left);
  for (const timeoutMs of [patience, left - patience]) {
    try {
      return await deps.volumes.waitFor(name, decide, { signal: call.signal, timeoutMs });
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
    }
    if (last?.status?.phase === 'Failed') throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name}, waits for ${what}: ${readiness(last)}`);
  }
  throw new RpcError(Code.DEADLINE_EXCEEDED, `AoEVolume ${name} still waits for ${what}: ${readiness(last ?? volume)}`);
}
