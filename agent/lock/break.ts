import { parseLock } from '../../aoe/mod.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK } from '../../api/volume.ts';
import { isNotFound, type Kube } from '../../kube/mod.ts';
import { TargetError } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import type { LockEvents } from './events.ts';
import { describeHolder, readHolder } from './holder.ts';

export interface BreakContext {
  kube: Pick<Kube, 'patch'>;
  target: TargetConnection;
  lockEvents: LockEvents;
}

/**
 * Breaks the lock of a volume as annotation {@link BREAK_LOCK} asks, if its holder still is the one that the annotation names, and
 * reports the outcome by an Event. A node is taken out of spec.initiators: it is then cut off, and its lock cleared, as that of any
 * node that is removed. A config string that another program set is compared and cleared. While the target is away the
 * annotation stays, to be compared with the config string that is there afterwards.
 * @returns the volume as it is now, and whether its lock was broken
 */
export async function breakLock(
  context: BreakContext,
  volume: AoEVolume,
  signal: AbortSignal,
): Promise<{ volume: AoEVolume; broken: boolean }> {
  const { target, lockEvents } = context;
  const { metadata, spec } = volume;
  const named = metadata.annotations?.[BREAK_LOCK];
  const state = target.state(metadata.uid ?? '');
  if (named === undefined || !state) return { volume, broken: false };
  const asked = `as annotation ${BREAK_LOCK} asks`;
  const holder = readHolder(state.configString);
  if (!holder || (named !== holder.node && named !== holder.raw)) {
    const now = holder ? `held by ${describeHolder(holder)}` : 'free';
    const settled = await settle(context, volume, {}, signal);
    lockEvents.notBroken(volume, `the lock is ${now}, not held by "${named}" as annotation ${BREAK_LOCK} says: nothing was done`);
    return { volume: settled, broken: false };
  }
  const user = describeHolder(holder);
  const nodes = spec.initiators?.nodes ?? [];
  if (holder.node && parseLock(state.configString)?.volumeUID === metadata.uid) {
    const rest = nodes.filter((node) => node !== holder.node);
    const change = rest.length < nodes.length ? { spec: { initiators: { nodes: rest.length > 0 ? rest : null } } } : {};
    const settled = await settle(context, volume, { ...change, resourceVersion: metadata.resourceVersion }, signal);
    lockEvents.broken(settled, `the lock held by ${user} is broken ${asked}: the node is cut off and its lock cleared`);
    return { volume: settled, broken: true };
  }
  try {
    await target.replaceConfigString(metadata.uid ?? '', state.configString, new Uint8Array(), signal);
  } catch (error) {
    // The string has just changed, or the target went away: both lead to the next reconcile.
    if (!(error instanceof TargetError)) throw error;
    return { volume, broken: false };
  }
  const settled = await settle(context, volume, {}, signal);
  const stay = [...nodes, ...(spec.initiators?.macs ?? [])];
  const left = stay.length > 0 ? `; ${stay.join(', ')} may still use the volume: see spec.initiators` : '';
  lockEvents.broken(settled, `the lock held by ${user} is broken ${asked}${left}`);
  return { volume: settled, broken: true };
}

/** Removes the annotation, with other changes in the same write. */
async function settle(
  { kube }: BreakContext,
  volume: AoEVolume,
  { resourceVersion, ...rest }: { spec?: object; resourceVersion?: string | undefined },
  signal: AbortSignal,
): Promise<AoEVolume> {
  const { name, uid } = volume.metadata;
  const metadata = { uid, ...(resourceVersion ? { resourceVersion } : {}), annotations: { [BREAK_LOCK]: null } };
  try {
    return await kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata, ...rest }, { signal });
  } catch (error) {
    if (isNotFound(error)) return volume;
    throw error;
  }
}
