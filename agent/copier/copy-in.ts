import { randomBytes } from 'node:crypto';
import { MiB } from '../../api/quantity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { SurveyAddress } from '../address/probe.ts';
import { type Backend, type BackingVolume, type CreateRequest, roundDown, roundUp, type WipeProgress } from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';
import { type CopierApi, CopierError, type CopyJob, type CopySource, type CopyState, describeFailure } from './api.ts';
import { jobId, jobsOf } from './job-id.ts';
import { startJob } from './start-job.ts';

/** A job that failed is begun again after this long: what was wrong may be right by then. */
const FAILED_RETRY_MS = 60_000;

/** What copies into volumes of this node need. */
export interface CopyInContext {
  copier: CopierApi;
  /** The interfaces on which sources are read, those that are up. */
  interfaces: () => readonly { name: string; mac: string }[];
  /** Makes the data of a snapshot on this node readable; undefined when it is gone. @throws BackendError */
  expose: (snapshot: AoESnapshot, signal: AbortSignal) => Promise<{ path: string; bytes: number } | undefined>;
  /** Finds disks of targets that are not ours. */
  survey: SurveyAddress;
  /** Bytes that a copy reads per second, at most. 0: no limit. */
  bytesPerSecond: number;
  /** Lets nobody else work on the data of a volume of this UID meanwhile: a move may have copied it here. */
  oneAtATime?: <R>(uid: string, task: () => Promise<R>) => Promise<R>;
}

/** The data is not whole yet. */
export interface Copying {
  kind: 'copying';
  phase: 'Waiting' | 'Copying' | 'Verifying';
  bytesDone: number;
  bytesTotal: number;
  /** With which this node reads the source; none for a source on this node. */
  macs: string[];
  /** Where the data comes from, for people. */
  from: string;
  /** Why the copy does not get ahead, for people; empty when it does. */
  problem: string;
  /** It does not go on by itself, and is begun again after a while. */
  failed: boolean;
}

/** Reasons why there is no source that a person can do something about. Any other: SourceNotReady. */
export type SourceProblem = 'SourceInUse' | 'SourceTooLarge' | 'SourceChanged';

export type CopyInResult =
  /** All of the data was compared, and is on stable storage. */
  { kind: 'whole' } | Copying | { kind: 'no-source'; message: string; reason?: SourceProblem };

/** Where the data of a copy comes from. */
export interface Origin {
  /** Begins the mark of the backing volume: half a copy goes on only from where it was begun. */
  id: string;
  /** For people. */
  from: string;
  /** Undefined while it is not known: then a job goes on with the size that it has. */
  bytes: number | undefined;
  /** The interfaces of this node on which it is read; none for a source on this node. */
  paths: readonly { name: string; mac: string }[];
  /** What the copier is to read, or why that is not known yet, for people. */
  source: (signal: AbortSignal) => Promise<CopySource | string>;
  /** What else is known to be wrong with it while the copy does not get ahead, for people. */
  troubles: readonly string[];
  /** Says to people that a copy was begun from another origin of this kind. */
  isAnother: (began: string) => string;
  /** Data that was found to differ is not copied again, but ends the copy: nobody promises that the source stays as it is. */
  mayChange: boolean;
  /** A backing volume that no job has written to yet, as far as the copier knows, has old data only where its wipe left some. */
  isClean: boolean;
}

/** What a copy makes. */
export interface CopyInto {
  backend: Backend;
  request: Omit<CreateRequest, 'copy'>;
  volume: AoEVolume;
  onWipeProgress?: ((progress: WipeProgress) => void) | undefined;
}

/**
 * Makes a volume with a copy of data, step by step: call it again while the result is `copying`. Each step may have been done before, by an
 * agent that ended at any point. Until the data is whole the backing volume carries a mark, with which it is never exported.
 * @throws BackendError
 */
export async function copyIn(context: CopyInContext, into: CopyInto, origin: Origin, signal: AbortSignal): Promise<CopyInResult> {
  const { backend, request, onWipeProgress } = into;
  // A new backing volume gets a new job: what an earlier job has copied is not in it.
  const copy = `${origin.id}/${randomBytes(4).toString('hex')}`;
  const backing = await createEmpty(backend, { ...request, copy }, signal, onWipeProgress);
  if (backing.copy === undefined) return { kind: 'whole' };
  const [began = '', token = ''] = backing.copy.split('/');
  if (began !== origin.id) return { kind: 'no-source', message: origin.isAnother(began) };
  return await advance(context, into, origin, { backing, token }, signal);
}

/** Whether nothing is left to copy. */
export function isWhole(begun: BackingVolume | undefined): boolean {
  return begun !== undefined && begun.copy === undefined && !begun.unwiped;
}

interface Begun {
  backing: BackingVolume;
  token: string;
}

/** Lets the copier begin or go on, and takes the mark off once all is verified. */
async function advance(
  context: CopyInContext,
  into: CopyInto,
  origin: Origin,
  { backing, token }: Begun,
  signal: AbortSignal,
): Promise<CopyInResult> {
  const { copier } = context;
  const { backend, request } = into;
  const { from, paths, troubles } = origin;
  const report: Copying = {
    kind: 'copying',
    phase: 'Waiting',
    bytesDone: 0,
    bytesTotal: origin.bytes ?? 0,
    macs: [...new Set(paths.map(({ mac }) => mac.toLowerCase()))].sort(),
    from,
    problem: '',
    failed: false,
  };
  try {
    const id = jobId(request.uid, token);
    const jobs = await jobsOf(copier, request.uid, signal);
    // One for an earlier backing volume of the same path would write into this one.
    for (const job of jobs) if (job.id !== id) await copier.remove(job.id, signal);
    const known = jobs.find((job) => job.id === id);
    // A job goes on as it was begun, for as long as the copier knows it: afterwards the backing volume is no longer as clean.
    const zeroed = known ? known.zeroed : origin.isClean && backing.cleanness === undefined;
    if (known && hasChanged(origin, known)) return await endChanged(copier, from, known, signal);
    const bytes = origin.bytes ?? known?.bytes ?? 0;
    report.bytesTotal = bytes;
    const isLate = known !== undefined && known.bytes === bytes && isAtRest(known);
    const source = isLate ? undefined : await origin.source(signal);
    if (typeof source === 'string') return { ...report, ...progressOf(known, bytes), phase: 'Waiting', problem: source };
    const state = source ? await startJob(copier, jobOf(context, into, backing, { id, source, bytes, zeroed }), signal) : known;
    if (state && hasChanged(origin, state)) return await endChanged(copier, from, state, signal);
    if (state?.phase !== 'verified') {
      const progress = progressOf(state, bytes);
      const problems = [progress.problem, ...(progress.problem === '' ? [] : troubles)];
      return { ...report, ...progress, problem: problems.filter((each) => each !== '').join('; ') };
    }
    await backend.finishCopy(backing.uid, signal);
    // It is forgotten later otherwise.
    await copier.remove(id, signal).catch(() => {});
    return { kind: 'whole' };
  } catch (error) {
    if (!(error instanceof CopierError)) throw error;
    return { ...report, problem: `the copier on this node ${describeFailure(error)}`, failed: error.reason === 'invalid' };
  }
}

export function hasChanged({ mayChange }: Pick<Origin, 'mayChange'>, { repaired }: CopyState): boolean {
  return mayChange && repaired > 0;
}

/** Ends a copy for good. Its job stays, and says that the source has changed. @throws CopierError */
export async function endChanged(
  copier: Pick<CopierApi, 'stop'>,
  from: string,
  { id, phase, repaired }: CopyState,
  signal: AbortSignal,
): Promise<CopyInResult> {
  if (phase !== 'stopped' && phase !== 'failed' && phase !== 'verified') await copier.stop(id, signal);
  const message = `${from} was read twice, and was not the same the second time (${repaired} places so far): somebody has written to it, or a disk is broken. The copy is not used. Stop everything that writes there, delete the AoEVolume, and create it again`;
  return { kind: 'no-source', message, reason: 'SourceChanged' };
}

/** Whether a job needs no call: it is done, or failed a moment ago. */
export function isAtRest({ phase, problemSince }: CopyState): boolean {
  if (phase === 'failed') return Date.now() - (problemSince?.getTime() ?? 0) < FAILED_RETRY_MS;
  return phase === 'verified';
}

function jobOf(
  { bytesPerSecond }: CopyInContext,
  { backend, volume }: CopyInto,
  backing: BackingVolume,
  { zeroed, ...job }: Pick<CopyJob, 'id' | 'source' | 'bytes'> & { zeroed: boolean },
): CopyJob {
  const destination = { path: backend.path(backing.uid), zeroed };
  return { ...job, volume: volume.metadata.name, destination, bytesPerSecond };
}

/** How far a job is, in steps, and why it does not get ahead. */
export function progressOf(state: CopyState | undefined, bytesTotal: number): Pick<Copying, 'phase' | 'bytesDone' | 'problem' | 'failed'> {
  if (!state) return { phase: 'Waiting', bytesDone: 0, problem: '', failed: false };
  const { phase, copied, verified, problem } = state;
  const isVerifying = phase === 'verifying' || (phase === 'failed' && copied === bytesTotal);
  const isWaiting = phase === 'queued' || phase === 'stopped';
  // Each step is a write to the API server: a hundred in each phase are enough.
  const step = roundUp(Math.max(1, bytesTotal / 100), MiB);
  const done = isVerifying ? verified : copied;
  return {
    phase: isVerifying ? 'Verifying' : isWaiting ? 'Waiting' : 'Copying',
    bytesDone: done >= bytesTotal ? bytesTotal : roundDown(done, step),
    problem,
    failed: phase === 'failed',
  };
}
