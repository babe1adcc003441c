import type { AoEPool } from '../../api/pool.ts';
import { type Informer, type Log, messageOf } from '../../kube/mod.ts';
import { aborted } from '../../run/aborted.ts';
import { loop } from '../../run/loop.ts';
import type { Backend } from '../backends/backend.ts';

/** Pause between two looks, in milliseconds. */
const EVERY_MS = 10 * 60_000;

export interface BlocksRecoveryOptions {
  readonly pools: Pick<Informer<AoEPool>, 'list' | 'synced'>;
  readonly backendOf: (pool: AoEPool) => Backend;
  readonly log: Log;
  /** For tests. */
  readonly everyMs?: number;
}

/**
 * Ends what a crash has left of lists of blocks, again and again until the signal is aborted: also where no lists are served any more, and for
 * a pool that becomes active later, as after a power loss. Never rejects.
 */
export async function recoverBlocks(options: BlocksRecoveryOptions, signal: AbortSignal): Promise<void> {
  const { pools, backendOf, log, everyMs = EVERY_MS } = options;
  await Promise.race([pools.synced, aborted(signal)]);
  const look = async (): Promise<void> => {
    // A pool that hangs must not keep the others from their next look.
    const limit = AbortSignal.any([signal, AbortSignal.timeout(everyMs)]);
    await Promise.all(pools.list().map((pool) => recover(pool, { backendOf, log }, limit)));
  };
  await loop(look, { everyMs, jitter: 0.25, signal, failed: (error) => log.warn({ error: messageOf(error) }, 'pools were not looked at') });
}

async function recover(
  pool: AoEPool,
  { backendOf, log }: Pick<BlocksRecoveryOptions, 'backendOf' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    await backendOf(pool).snapshots?.blocks?.recover?.(signal);
  } catch (error) {
    // A pool that is not on this node, mostly.
    log.debug({ pool: pool.metadata.name, error: messageOf(error) }, 'what a crash may have left of a list of blocks was not looked for');
  }
}
