import type { Deps } from '../deps.ts';

/**
 * Takes this node out of status.holder of an AoEVolume of an external target, whose lock it has released: no agent watches such a target. What
 * the API server refuses is logged only.
 */
export async function forgetHolder(
  { nodeName, volumes, log }: Pick<Deps, 'nodeName' | 'volumes' | 'log'>,
  volumeId: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const volume = await volumes.get(volumeId, signal);
    if (volume?.status?.holder?.node === nodeName) await volumes.record(volume, { holder: null }, signal);
  } catch (error) {
    log.warn({ volume: volumeId, error }, 'holder not removed from the status');
  }
}
