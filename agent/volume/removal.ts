import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, BREAK_LOCK, type Holder, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { isNotFound, type Kube } from '../../kube/mod.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { wasProvisioned } from './data.ts';
import { noteHolder, type ServeContext, serve } from './export.ts';
import type { VolumeStatus } from './status.ts';

const RETRY_MS = 5_000;

export interface RemovalContext extends ServeContext {
  kube: Pick<Kube, 'patch'>;
  /** Whether the volume's data is being made or looked for. It is told when that ends. */
  dataIsBusy: (uid: string) => boolean;
}

/** `done`: the finalizer is off. `waiting`: the status says for what; look again then, or when something changes. */
export type Removal = { outcome: 'done' } | { outcome: 'waiting'; retryMs?: number };

/** Why a volume is in use; undefined when it is not. */
export function inUse({ spec }: AoEVolume, holder: Holder | undefined): string | undefined {
  const nodes = spec.initiators?.nodes ?? [];
  if (nodes.length > 0) return `attached to ${nodes.join(', ')}${holder?.since ? ` (locked since ${holder.since})` : ''}`;
  if (holder?.node) return `locked by ${holder.node}${holder.since ? ` since ${holder.since}` : ''}`;
  if (holder)
    return `its config string is set by somebody else ("${holder.raw}"): clear it when that host is done (annotation ${BREAK_LOCK})`;
  return undefined;
}

/** Takes a deleted volume off the segment, and its data away, once nobody uses it. Each step may have been done before. */
export async function removeVolume(
  context: RemovalContext,
  volume: AoEVolume,
  backend: Backend | undefined,
  status: VolumeStatus,
  signal: AbortSignal,
): Promise<Removal> {
  const { uid = '' } = volume.metadata;
  const { target } = context;
  const wait = (reason: string, message: string, retryMs?: number): Removal => {
    const before = status.get(VolumeCondition.Exported)?.status ?? 'False';
    status.condition(VolumeCondition.Exported, target.connected ? before : 'Unknown', reason, `deletion waits: ${message}`);
    return retryMs === undefined ? { outcome: 'waiting' } : { outcome: 'waiting', retryMs };
  };

  if (!target.connected) return wait('TargetUnavailable', `the target process does not answer (${target.problem})`);
  // Whoever is let in no more loses access and lock first; then what is left tells whether it is in use.
  const state = await serve(context, volume, undefined, status, signal);
  if (state) noteHolder(volume, state, status);
  else delete status.now.holder;
  const user = inUse(volume, status.now.holder);
  if (user) return wait('InUse', user);

  // From here data goes: decide on what the API server says now, not on what a watch last told.
  const fresh = await context.fresh(volume, signal);
  if (!fresh) return { outcome: 'done' };
  const late = fresh.metadata.deletionTimestamp ? inUse(fresh, status.now.holder) : 'not deleted after all';
  if (late) return wait('InUse', late, RETRY_MS);

  if (context.dataIsBusy(uid)) return wait('Removing', 'its data is still being looked for or made');
  await target.unexport(uid, signal);
  if (!backend) {
    if (wasProvisioned(fresh)) {
      const message = `AoEPool ${fresh.spec.pool}, which holds the data, does not exist: create it again, or take the finalizer off`;
      return wait('NoSuchPool', message, RETRY_MS);
    }
  } else {
    try {
      if (fresh.spec.deletionPolicy === 'Retain') await backend.retain(uid, signal);
      else await backend.remove(uid, signal);
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      // Where there is no pool, nothing was made. Should it come back with something half made in it, that is an orphan, and told.
      const neverMade = error.reason === 'PoolMissing' && !wasProvisioned(fresh) && !state;
      if (!neverMade) {
        const made = wasProvisioned(fresh) ? 'True' : 'Unknown';
        status.condition(VolumeCondition.Provisioned, made, 'RemovalFailed', `deletion waits: ${error.message}`);
        status.condition(VolumeCondition.Exported, 'False', 'Removing', 'it is being deleted');
        return { outcome: 'waiting', retryMs: RETRY_MS };
      }
    }
  }
  await dropFinalizer(context.kube, fresh, signal);
  return { outcome: 'done' };
}

async function dropFinalizer(kube: Pick<Kube, 'patch'>, { metadata }: AoEVolume, signal: AbortSignal): Promise<void> {
  const finalizers = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== VOLUME_FINALIZER);
  const { name, uid, resourceVersion } = metadata;
  try {
    await kube.patch(AOE_VOLUMES, name, { metadata: { uid, resourceVersion, finalizers } }, { signal });
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
}
