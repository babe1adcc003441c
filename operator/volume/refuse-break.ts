import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK } from '../../api/volume.ts';
import type { EventRecorder, Kube } from '../../kube/mod.ts';
import { FIELD_MANAGER } from './status.ts';

/** Annotation {@link BREAK_LOCK} on an external volume: nobody here can tell the target to compare and clear. */
export async function refuseBreak(
  { kube, events }: { kube: Pick<Kube, 'patch'>; events: Pick<EventRecorder, 'event'> },
  volume: AoEVolume,
  signal: AbortSignal,
): Promise<void> {
  const { metadata, spec } = volume;
  if (!spec.external || metadata.annotations?.[BREAK_LOCK] === undefined) return;
  const patch = { metadata: { uid: metadata.uid, annotations: { [BREAK_LOCK]: null } } };
  await kube.patch(AOE_VOLUMES, metadata.name, patch, { fieldManager: FIELD_MANAGER, signal });
  const { shelf, slot } = spec.external;
  const message = `someone else serves e${shelf}.${slot}: clear the lock there, or by aoecfg -c fset -s "" ${shelf} ${slot} from a host that the target admits`;
  events.event(volume, 'Warning', 'LockNotBroken', message);
}
