import { type Backend, BackendError, type BackingVolume } from './backend.ts';

/**
 * {@link Backend.find} where a measurement costs little. A volume that is found counts, also where the pool is not ready: it may only be full.
 * @throws BackendError PoolNotReady when there is none, and the pool is not ready
 */
export async function findMeasured(
  backend: Pick<Backend, 'measure'>,
  uid: string,
  signal: AbortSignal,
): Promise<BackingVolume | undefined> {
  const { ready, message = 'the pool is not ready', volumes } = await backend.measure(signal);
  const found = volumes.find((each) => each.uid === uid);
  if (!found && !ready) throw new BackendError('PoolNotReady', message);
  return found;
}
