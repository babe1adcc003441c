import type { AoEVolume } from '../../api/volume.ts';
import { type Informer, type KubeObject, type ResourceType, TimeoutError } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';
import { describeReadiness } from './describe.ts';

/** Limit of a wait when the caller names none. The sidecars give up after 60 s. */
const LONGEST_MS = 50_000;
/** The call answers this long before the caller gives up: its message says more than the caller's own. */
const AHEAD_MS = 500;
/** A volume that has failed is reported after this time already, and not at the deadline. */
const FAILED_MS = 5_000;

/** How long a call may still wait, in milliseconds. */
export function timeLeft({ deadline }: Call): number {
  return Math.max(0, Math.min(LONGEST_MS, deadline - Date.now() - AHEAD_MS));
}

export interface Wait<R> {
  /** What is waited for, as in "is still waiting for its export". */
  readonly what: string;
  /** Called with each state of exactly this volume; undefined means to wait on. */
  readonly until: (volume: AoEVolume) => R | undefined;
  /** What is known meanwhile, for messages. Default: whether the volume is ready. */
  readonly describe?: (volume: AoEVolume) => string;
}

/**
 * Waits, on the watch, until a volume is in a state.
 * @throws RpcError DEADLINE_EXCEEDED; UNAVAILABLE when the volume has failed; ABORTED when it was deleted. For a caller, each of these
 * codes means that the volume may exist
 */
export async function waitFor<R>(
  deps: Deps,
  volume: AoEVolume,
  { what, until, describe = describeReadiness }: Wait<R>,
  call: Call,
): Promise<R> {
  const { name, uid } = volume.metadata;
  let last: AoEVolume | undefined;
  const decide = (now: AoEVolume | undefined): R | undefined => {
    if (now?.metadata.uid !== uid) {
      // If the watch has not shown the volume yet, it is a little late. If it has, the volume is gone.
      if (last) throw new RpcError(Code.ABORTED, `AoEVolume ${name} was deleted while the call waited for ${what}`);
      return undefined;
    }
    last = now;
    return now && until(now);
  };
  const left = timeLeft(call);
  const first = Math.min(FAILED_MS, left);
  for (const timeoutMs of [first, left - first]) {
    try {
      return await deps.volumes.waitFor(name, decide, { signal: call.signal, timeoutMs });
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
    }
    if (last?.status?.phase === 'Failed')
      throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name} is waiting for ${what}: ${describe(last)}`);
  }
  throw new RpcError(Code.DEADLINE_EXCEEDED, `AoEVolume ${name} is still waiting for ${what}: ${describe(last ?? volume)}`);
}

/**
 * Waits, on the watch, until an object that was deleted is gone.
 * @throws TimeoutError when it is not gone in time
 */
export async function waitUntilGone<T extends KubeObject>(
  { kube, store, type }: { kube: Pick<Deps['kube'], 'get'>; store: Pick<Informer<T>, 'waitFor'>; type: ResourceType },
  { metadata: { name, uid } }: T,
  call: Call,
): Promise<void> {
  const { signal } = call;
  let isShown = false;
  const isThis = (now: T | undefined): boolean => now?.metadata.uid === uid;
  const isGone = (now: T | undefined): boolean => {
    isShown ||= isThis(now);
    return !isThis(now);
  };
  await store.waitFor(name, isGone, { signal, timeoutMs: timeLeft(call) });
  // If the watch has not shown the object yet, it may only be late.
  if (isShown || !isThis(await kube.get<T>(type, name, { signal }))) return;
  await store.waitFor(name, (now) => isGone(now) && isShown, { signal, timeoutMs: timeLeft(call) });
}
