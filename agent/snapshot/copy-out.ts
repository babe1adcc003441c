import { messageOf } from '../../kube/mod.ts';
import { BackendError, type BackingSnapshot, type CopyOut } from '../backends/backend.ts';
import { type CopierApi, CopierError, type CopyState } from '../copier/api.ts';
import { jobId, jobsOf, removeJobs } from '../copier/job-id.ts';
import { startJob } from '../copier/start-job.ts';
import { failedBy, type Outcome, taken } from './outcome.ts';

const PROGRESS_MS = 2_000;
/** As long as other copies must end first, nothing else is to be said. */
const QUEUED_MS = 10_000;
/** How old what is known of the disks may be while the copy goes on. Otherwise each copy would read the volume group every two seconds. */
const RECENT_MS = 30_000;
/** A job that failed, or cannot go on, is begun again after this long. */
const FAILED_RETRY_MS = 15_000;

export interface CopyOutContext {
  copier: Pick<CopierApi, 'list' | 'start' | 'remove'>;
  /** Bytes that a copy reads per second, at most. 0: no limit. */
  bytesPerSecond: number;
}

/**
 * Makes a snapshot whole that is not yet, step by step: call it again until condition Taken is True. Each step may have been done
 * before, by an agent that ended at any point.
 * @param name of the AoESnapshot
 */
export async function advanceCopyOut(
  { copier, bytesPerSecond }: CopyOutContext,
  copyOut: CopyOut,
  { snapshot, name }: { snapshot: BackingSnapshot; name: string },
  signal: AbortSignal,
): Promise<Outcome> {
  // One that is lost before its instant was reported is taken again: what a job for that one has copied is not of this instant.
  const id = jobId(snapshot.uid, `out-${Date.parse(snapshot.createdAt)}`);
  let state: CopyState | undefined;
  try {
    let parts = await copyOut.open(snapshot.uid, RECENT_MS, signal);
    if (parts) {
      const jobs = await jobsOf(copier, snapshot.uid, signal);
      for (const job of jobs) if (job.id !== id) await copier.remove(job.id, signal);
      state = jobs.find((job) => job.id === id);
      // A source that was damaged meanwhile cannot be read.
      const isSure = state !== undefined && state.phase !== 'failed' && state.problem === '';
      if (!isSure) parts = await copyOut.open(snapshot.uid, 0, signal);
    }
    if (parts) {
      const { source, destination, bytes } = parts;
      const wasQueued = state?.phase === 'queued';
      if (state?.phase !== 'verified' && !isResting(state)) {
        const job = { id, volume: name, source: { kind: 'local' as const, path: source }, bytes, bytesPerSecond };
        // Its blocks may hold old data of other volumes.
        state = await startJob(copier, { ...job, destination: { path: destination, zeroed: false } }, signal);
      }
      if (state?.phase !== 'verified') {
        const outcome = copying(snapshot, state, state?.problem ?? '');
        return wasQueued && state?.phase === 'queued' && state.problem === '' ? { ...outcome, retryMs: QUEUED_MS } : outcome;
      }
    }
    const whole = await copyOut.finish(snapshot.uid, signal);
    // It is forgotten later otherwise.
    await removeJobs(copier, snapshot.uid, signal).catch(() => {});
    return taken(whole);
  } catch (error) {
    signal.throwIfAborted();
    // The copier may just be closing it.
    if (error instanceof CopierError || (error instanceof BackendError && error.reason === 'BackingBusy'))
      return copying(snapshot, state, messageOf(error));
    return failedBy(error);
  }
}

/** Whether a job failed a moment ago. */
function isResting(state: CopyState | undefined): boolean {
  return state?.phase === 'failed' && Date.now() - (state.problemSince?.getTime() ?? 0) < FAILED_RETRY_MS;
}

function copying(snapshot: BackingSnapshot, state: CopyState | undefined, problem: string): Outcome {
  const { bytes, createdAt, name } = snapshot;
  const percent = (done: number): string => `${Math.floor((100 * done) / bytes)} %`;
  const isCompared = state?.phase === 'verifying' || (state?.verified ?? 0) > 0;
  const progress = isCompared ? `${percent(state?.verified ?? 0)} compared` : `${percent(state?.copied ?? 0)} copied`;
  const trouble = problem === '' ? '' : `; it does not get ahead: ${problem}`;
  const message = `the data of ${createdAt} is being copied into ${name}, ${progress} of ${bytes} bytes; until then the volume can neither grow nor be removed${trouble}`;
  return {
    verdict: { status: 'False', reason: state?.phase === 'failed' ? 'CopyFailed' : 'Copying', message },
    taken: snapshot,
    retryMs: problem === '' ? PROGRESS_MS : FAILED_RETRY_MS,
  };
}
