import { parseLock } from '../../aoe/mod.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK } from '../../api/volume.ts';
import { isNotFound, type Kube } from '../../kube/mod.ts';
import { TargetError } from '../target/api.ts';
import type { TargetLink } from '../target/connection.ts';
import type { LockStory } from './events.ts';
import { describeHolder, holderOf } from './holder.ts';

export interface BreakContext {
  kube: Pick<Kube, 'patch'>;
  target: TargetLink;
  story: LockStory;
}

/**
 * Breaks the lock of a volume as annotation {@link BREAK_LOCK} asks, if its holder still is the one named there, and tells the
 * outcome by an Event. A node is also shut out: the lock then goes as any fenced node's does. A string that is not ours is
 * compared and cleared. While the target is away the annotation stays, to be compared with what is there then.
 * @returns the volume as it is now
 */
export async function breakLock(context: BreakContext, volume: AoEVolume, signal: AbortSignal): Promise<AoEVolume> {
  const { target, story } = context;
  const { metadata, spec } = volume;
  const named = metadata.annotations?.[BREAK_LOCK];
  const state = target.state(metadata.uid ?? '');
  if (named === undefined || !state) return volume;
  const asked = `as annotation ${BREAK_LOCK} asks`;
  const holder = holderOf(state.configString);
  if (!holder || (named !== holder.node && named !== holder.raw)) {
    const now = holder ? `held by ${describeHolder(holder)}` : 'free';
    const settled = await settle(context, volume, {}, signal);
    story.notBroken(volume, `the lock is ${now}, not held by "${named}" as annotation ${BREAK_LOCK} says: nothing was done`);
    return settled;
  }
  const who = describeHolder(holder);
  const nodes = spec.initiators?.nodes ?? [];
  if (holder.node && parseLock(state.configString)?.volumeUID === metadata.uid) {
    const rest = nodes.filter((node) => node !== holder.node);
    const change = rest.length < nodes.length ? { spec: { initiators: { nodes: rest.length > 0 ? rest : null } } } : {};
    const settled = await settle(context, volume, { ...change, resourceVersion: metadata.resourceVersion }, signal);
    story.broken(settled, `the lock held by ${who} is broken ${asked}: the node is shut out and the lock taken away`);
    return settled;
  }
  try {
    await target.replaceConfigString(metadata.uid ?? '', state.configString, new Uint8Array(), signal);
  } catch (error) {
    // It changed at this moment, or the target went away: both lead back here.
    if (!(error instanceof TargetError)) throw error;
    return volume;
  }
  const settled = await settle(context, volume, {}, signal);
  const stay = [...nodes, ...(spec.initiators?.macs ?? [])];
  const left = stay.length > 0 ? `; ${stay.join(', ')} may still use the volume: see spec.initiators` : '';
  story.broken(settled, `the lock held by ${who} is broken ${asked}${left}`);
  return settled;
}

/** Takes the annotation off, with whatever else is to change in the same moment. */
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
