import { parseQuantity } from '../../api/quantity.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { persistentVolumeOf } from '../../api/usage/persistent-volume.ts';
import { type AoEVolume, BREAK_LOCK, DELETE_DATA, type Holder, isRetained, VOLUME_FINALIZER } from '../../api/volume.ts';
import { type Kube, messageOf, retryOnConflict } from '../../kube/mod.ts';
import type { ReadVolume } from '../access/enforce.ts';
import { type Backend, BackendError, type BackingVolume } from '../backends/backend.ts';
import type { CopierApi } from '../copier/api.ts';
import { endJobs } from '../copier/job-id.ts';
import type { Job } from '../jobs/job.ts';
import { REMOVAL_MS } from '../jobs/removal-ms.ts';
import { readHolder } from '../lock/holder.ts';
import type { TargetVolumeState } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import { keepExposed } from './data.ts';
import { finishMove } from './moved.ts';
import { wasProvisioned } from './observe.ts';

const RETRY_MS = 5_000;
/** How often PersistentVolumes are read again while one keeps the data: an annotation leads to a reconcile by itself. */
const PERSISTENT_VOLUME_RETRY_MS = 60_000;

export interface RemovalContext {
  kube: Pick<Kube, 'patch' | 'get' | 'list'>;
  target: Pick<TargetConnection, 'unexport'>;
  /** May be copying into the volume. */
  copier: Pick<CopierApi, 'list' | 'remove'>;
  read: ReadVolume;
  /** Called with the name of a volume when its removal, for which no reconcile waits any more, has ended. */
  settled: (volume: string) => void;
}

/** What a deletion waits for. */
export type RemovalWait =
  | { for: 'user'; user: string }
  /** The API server says that the volume is not deleted. */
  | { for: 'deletion' }
  /** The data is still being opened or made. */
  | { for: 'data' }
  /** The data is being removed, or given back. */
  | { for: 'removal' }
  /** A PersistentVolume names the volume, and nobody has asked for the removal of its data. */
  | { for: 'persistent-volume'; name: string; uid: string }
  /** It is not known whether a PersistentVolume names the volume. */
  | { for: 'api-server'; problem: string }
  | { for: 'pool'; pool: string }
  | { for: 'backend'; error: BackendError; provisioned: boolean };

/** `done`: the finalizer is removed. `waiting`: `retryMs` is undefined when the end of the wait leads to a reconcile by itself. */
export type RemovalResult = { outcome: 'done' } | { outcome: 'waiting'; wait: RemovalWait; retryMs?: number };

/** Describes the host that uses a volume, or may; undefined when none does. */
export function describeUser({ spec }: AoEVolume, holder: Holder | undefined): string | undefined {
  const nodes = spec.initiators?.nodes ?? [];
  if (nodes.length > 0) return `attached to ${nodes.join(', ')}${holder?.since ? ` (locked since ${holder.since})` : ''}`;
  if (holder?.node) return `locked by ${holder.node}${holder.since ? ` since ${holder.since}` : ''}`;
  if (!holder) return undefined;
  return `its config string was set by other software ("${holder.raw}"): when that host is done, clear it with annotation ${BREAK_LOCK}`;
}

export interface Removable {
  backend: Backend | undefined;
  /** The volume as the target serves it, after initiators that the spec no longer names were cut off. */
  state: TargetVolumeState | undefined;
  /** Whether the data is being opened or made. */
  dataIsBusy: boolean;
  /** Removes the data beside reconciles. */
  removal: Pick<Job<RemovalWait | undefined>, 'isBusy' | 'isPending' | 'run'>;
}

/**
 * Takes a deleted volume that nobody uses off the segment, then removes its data, then the finalizer. Each step may have been
 * done before. All that may wait for a disk is done by the job, of which there is one at a time: it is decided on once, before it begins.
 * @throws TargetError, KubeError
 */
export async function removeVolume(
  context: RemovalContext,
  volume: AoEVolume,
  { backend, state, dataIsBusy, removal }: Removable,
  signal: AbortSignal,
): Promise<RemovalResult> {
  const { kube, read, settled } = context;
  const wait = (what: RemovalWait, retryMs?: number): RemovalResult =>
    retryMs === undefined ? { outcome: 'waiting', wait: what } : { outcome: 'waiting', wait: what, retryMs };
  if (removal.isBusy) return wait({ for: 'removal' });
  const isDecided = removal.isPending;
  const holder = state && readHolder(state.configString);
  const user = isDecided ? undefined : describeUser(volume, holder);
  if (user) return wait({ for: 'user', user });

  // From here on data is removed: the decision is made on what the API server has now, not on what the watch has shown.
  const fresh = await read(volume, signal);
  if (!fresh) return { outcome: 'done' };
  if (!isDecided) {
    if (!fresh.metadata.deletionTimestamp) return wait({ for: 'deletion' }, RETRY_MS);
    const lateUser = describeUser(fresh, holder);
    if (lateUser) return wait({ for: 'user', user: lateUser }, RETRY_MS);
    if (dataIsBusy) return wait({ for: 'data' });
    const keeper = await keeperOf(kube, fresh, signal);
    if (keeper) return wait(keeper, keeper.for === 'persistent-volume' ? PERSISTENT_VOLUME_RETRY_MS : RETRY_MS);
  }
  const outcome = await removal.run((stop) => removeData(context, fresh, { backend, state }, stop), {
    patienceMs: REMOVAL_MS.patience,
    ended: () => settled(volume.metadata.name),
  });
  if (!outcome) return wait({ for: 'removal' });
  if ('error' in outcome) throw outcome.error;
  if (outcome.result) return wait(outcome.result, RETRY_MS);
  await removeFinalizer(context, fresh, signal);
  return { outcome: 'done' };
}

/**
 * Takes a volume off the segment, and removes its data or gives it back.
 * @param fresh the volume as the API server has it
 * @returns why that is not done; undefined when it is done
 * @throws TargetError
 */
async function removeData(
  { target, copier }: Pick<RemovalContext, 'target' | 'copier'>,
  fresh: AoEVolume,
  { backend, state }: Pick<Removable, 'backend' | 'state'>,
  signal: AbortSignal,
): Promise<RemovalWait | undefined> {
  const { uid = '' } = fresh.metadata;
  const provisioned = wasProvisioned(fresh);
  // What is only half adopted was never the volume's.
  const isKept = isRetained(fresh) || (fresh.spec.adopt !== undefined && !provisioned);
  // Before the target forgets how much it has exported.
  const error = backend && isKept ? await keepTail(backend, fresh, state, signal) : undefined;
  if (error) return { for: 'backend', error, provisioned };
  await target.unexport(uid, signal);
  const hung = fresh.spec.source && (await endJobs(copier, uid, signal));
  if (hung) return { for: 'backend', error: hung, provisioned };
  if (!backend && provisioned) return { for: 'pool', pool: fresh.spec.pool ?? '' };
  try {
    if (isKept) {
      // With the mark of half a copy it could not be adopted later.
      const backing = backend && fresh.spec.move && (await foundIn(backend, uid, signal));
      if (backend && backing) await finishMove(backend, fresh, backing, undefined, signal);
      await backend?.retain(uid, signal);
    } else await backend?.remove(uid, signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // Where the pool is missing, nothing was made. Should it come back with a half-made volume, that is reported as an orphan.
    const neverMade = error.reason === 'PoolMissing' && !provisioned && !state;
    if (!neverMade) return { for: 'backend', error, provisioned };
  }
  return undefined;
}

/**
 * Keeps a tail that was exported, which is cut off a file when it is retained: no reconcile of a deleted volume opens its data.
 * @returns why that failed
 */
async function keepTail(
  backend: Backend,
  { metadata: { uid = '' }, status }: AoEVolume,
  state: TargetVolumeState | undefined,
  signal: AbortSignal,
): Promise<BackendError | undefined> {
  const exposed = Math.max(parseQuantity(status?.capacity ?? '0'), state?.bytes ?? 0);
  if (exposed === 0) return undefined;
  try {
    const backing = await foundIn(backend, uid, signal);
    if (backing) await keepExposed(backend, backing, exposed, signal);
    return undefined;
  } catch (error) {
    if (error instanceof BackendError) return error;
    throw error;
  }
}

/**
 * The backing volume; undefined also when the pool is missing: one that was lost for good must not keep its AoEVolume.
 * @throws BackendError when the pool cannot say now whether there is one
 */
async function foundIn(backend: Pick<Backend, 'find'>, uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
  try {
    return await backend.find(uid, signal);
  } catch (error) {
    if (error instanceof BackendError && error.reason === 'PoolMissing') return undefined;
    throw error;
  }
}

/** Why the data of a deleted volume that nobody uses is kept; undefined when it may be removed, or is retained anyway. */
async function keeperOf(
  kube: RemovalContext['kube'],
  volume: AoEVolume,
  signal: AbortSignal,
): Promise<Extract<RemovalWait, { for: 'persistent-volume' | 'api-server' }> | undefined> {
  const { uid = '', annotations } = volume.metadata;
  if (isRetained(volume) || (uid !== '' && annotations?.[DELETE_DATA] === uid)) return undefined;
  try {
    const name = await persistentVolumeOf(kube, volume, signal);
    return name === undefined ? undefined : { for: 'persistent-volume', name, uid };
  } catch (error) {
    signal.throwIfAborted();
    return { for: 'api-server', problem: messageOf(error) };
  }
}

/** Removes our finalizer. Others write the status meanwhile, so the version may be too old: then this write alone is repeated. */
async function removeFinalizer(
  { kube, read }: Pick<RemovalContext, 'kube' | 'read'>,
  volume: AoEVolume,
  signal: AbortSignal,
): Promise<void> {
  const write = async ({ metadata: { name, uid, resourceVersion, finalizers = [] } }: AoEVolume): Promise<void> => {
    const metadata = { uid, resourceVersion, finalizers: finalizers.filter((finalizer) => finalizer !== VOLUME_FINALIZER) };
    await kube.patch(AOE_VOLUMES, name, { metadata }, { signal });
  };
  await retryOnConflict(volume, { write, read: () => read(volume, signal), signal });
}
