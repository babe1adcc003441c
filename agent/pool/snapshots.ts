import type { AoEPool, PoolNode } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { messageOf, type Store } from '../../kube/mod.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { unsupportedBy } from '../snapshot/take.ts';
import type { Orphans } from './orphans.ts';

interface Context {
  /** The AoESnapshots of the cluster. */
  snapshots: Pick<Store<AoESnapshot>, 'list'>;
  orphans: Orphans;
  signal: AbortSignal;
}

/**
 * Whether snapshots can be taken in a pool on this node, why not, and which are there.
 * @returns undefined when the pool cannot say that now
 */
export async function snapshotsOf(
  pool: AoEPool,
  { snapshots: backend }: Pick<Backend, 'snapshots'>,
  { snapshots, orphans: detector, signal }: Context,
): Promise<PoolNode['snapshots']> {
  if (!backend) return { possible: false, message: unsupportedBy(pool) };
  try {
    const present = await backend.list(signal);
    const known = new Set(snapshots.list().map(({ metadata }) => metadata.uid ?? ''));
    const { orphans } = detector.check(`${pool.metadata.name}/snapshots`, present, (uid) => known.has(uid));
    const message = await backend.problem();
    return {
      possible: message === undefined,
      ...(message === undefined ? {} : { message }),
      ...(present.length > 0 ? { count: present.length } : {}),
      ...(orphans.length > 0 ? { orphans: orphans.map(({ name, snapshot }) => `${name} (was ${snapshot})`).sort() } : {}),
    };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (error.reason === 'PoolNotReady') return undefined;
    return { possible: false, message: messageOf(error) };
  }
}
