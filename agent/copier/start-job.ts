import { type CopierApi, CopierError, type CopyJob, type CopyState } from './api.ts';

/**
 * Begins a job, or goes on with it. When the copier knows the job with another path, address or interfaces, its data is the same, since a job is
 * named by what it copies and by its destination: it is begun again.
 * @throws CopierError
 */
export async function startJob(copier: Pick<CopierApi, 'start' | 'remove'>, job: CopyJob, signal: AbortSignal): Promise<CopyState> {
  try {
    return await copier.start(job, signal);
  } catch (error) {
    if (!(error instanceof CopierError) || error.reason !== 'conflict') throw error;
    await copier.remove(job.id, signal);
    return await copier.start(job, signal);
  }
}
