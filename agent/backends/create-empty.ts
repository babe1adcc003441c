import type { Backend, BackingVolume, CreateRequest, WipeProgress } from './backend.ts';

/**
 * Makes the backing volume of an AoEVolume that begins empty: creates it, then wipes it where that is needed. Both steps may have
 * been done before, in part. A volume that gets its data from elsewhere (a clone) is created, too, and never comes here.
 * @throws BackendError
 */
export async function createEmpty(
  backend: Backend,
  request: CreateRequest,
  signal: AbortSignal,
  onWipeProgress?: (progress: WipeProgress) => void,
): Promise<BackingVolume> {
  const volume = await backend.create(request, signal);
  if (!volume.unwiped) return volume;
  if (!backend.wipe) throw new Error(`${volume.name} may hold old data, and its backend has no way to wipe it`);
  return await backend.wipe(request.uid, signal, onWipeProgress);
}
