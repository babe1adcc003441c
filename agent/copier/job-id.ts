import type { CopierApi, CopyState } from './api.ts';

/**
 * The id of the job that copies into a volume.
 * @param token of the mark that its backing volume carries: another backing volume of the AoEVolume has another job
 */
export function jobId(volumeUID: string, token: string): string {
  return `${volumeUID}.${token}`;
}

/** UID of the AoEVolume whose data a job copies. */
export function volumeOfJob(id: string): string {
  return id.slice(0, id.lastIndexOf('.'));
}

/** The jobs that copy, or copied, into a volume. @throws CopierError */
export async function jobsOf(copier: Pick<CopierApi, 'list'>, volumeUID: string, signal: AbortSignal): Promise<CopyState[]> {
  return (await copier.list(signal)).filter(({ id }) => volumeOfJob(id) === volumeUID);
}

/**
 * Ends and forgets the jobs of a volume. What they have written stays.
 * @throws CopierError
 */
export async function removeJobs(copier: Pick<CopierApi, 'list' | 'remove'>, volumeUID: string, signal: AbortSignal): Promise<void> {
  for (const { id } of await jobsOf(copier, volumeUID, signal)) await copier.remove(id, signal);
}
