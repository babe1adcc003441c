import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK } from '../../api/volume.ts';
import type { EventRecorder, Kube } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';

interface Options {
  readonly kube: Pick<Kube, 'patch'>;
  readonly events: Pick<EventRecorder, 'event'>;
}

/** Removes annotation {@link BREAK_LOCK} from an external volume, with an Event: no agent here could compare and clear its lock. */
export async function refuseBreak({ kube, events }: Options, volume: AoEVolume, signal: AbortSignal): Promise<void> {
  const { metadata, spec } = volume;
  if (!spec.external || metadata.annotations?.[BREAK_LOCK] === undefined) return;
  const patch = { metadata: { uid: metadata.uid, annotations: { [BREAK_LOCK]: null } } };
  await kube.patch(AOE_VOLUMES, metadata.name, patch, { fieldManager: FIELD_MANAGER, signal });
  const { shelf, slot } = spec.external;
  const message = `the target of e${shelf}.${slot} is outside of this project: clear the lock there, or by aoecfg -c fset -s "" ${shelf} ${slot} from a host that the target admits`;
  events.event(volume, 'Warning', 'LockNotBroken', message);
}
