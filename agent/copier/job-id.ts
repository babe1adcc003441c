import { BackendError } from '../backends/backend.ts';
import { type CopierApi, CopierError, type CopyState, describeFailure } from './api.ts';

/**
 * The id of the job that copies into a volume, or makes a snapshot whole.
 * @param ownerUID of the AoEVolume or AoESnapshot
 * @param token of the mark that its backing volume carries: another backing volume of the AoEVolume has another job
 */
export function jobId(ownerUID: string, token: string): string {
  return `${ownerUID}.${token}`;
}

/** UID of the AoEVolume into which a job copies, or of the AoESnapshot. */
export function ownerOfJob(id: string): string {
  return id.slice(0, id.lastIndexOf('.'));
}

/** The jobs of an AoEVolume or AoESnapshot. @throws CopierError */
export async function jobsOf(copier: Pick<CopierApi, 'list'>, ownerUID: string, signal: AbortSignal): Promise<CopyState[]> {
  return (await copier.list(signal)).filter(({ id }) => ownerOfJob(id) === ownerUID);
}

/**
 * Ends and forgets the jobs of an AoEVolume or AoESnapshot. What they have written stays.
 * @throws CopierError
 */
export async function removeJobs(copier: Pick<CopierApi, 'list' | 'remove'>, ownerUID: string, signal: AbortSignal): Promise<void> {
  for (const { id } of await jobsOf(copier, ownerUID, signal)) await copier.remove(id, signal);
}

/**
 * As {@link removeJobs}, before what they write to is removed. While the copier is away it copies nothing, and forgets them when it is back.
 * @returns why one may still write
 */
export async function endJobs(
  copier: Pick<CopierApi, 'list' | 'remove'>,
  ownerUID: string,
  signal: AbortSignal,
): Promise<BackendError | undefined> {
  try {
    await removeJobs(copier, ownerUID, signal);
  } catch (error) {
    if (!(error instanceof CopierError)) throw error;
    if (error.reason === 'hangs') return new BackendError('BackingBusy', `the copier ${describeFailure(error)}`, { cause: error });
  }
  return undefined;
}
