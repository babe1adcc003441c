import { randomBytes } from 'node:crypto';
import { MiB, parseQuantity } from '../../api/quantity.ts';
import { type AoESnapshot, isUncommitted, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoEVolume, serialNumber } from '../../api/volume.ts';
import { type Backend, type BackingVolume, type CreateRequest, roundDown, roundUp, type WipeProgress } from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';
import { type CopierApi, CopierError, type CopyJob, type CopySource, type CopyState } from './api.ts';
import { jobId, jobsOf } from './job-id.ts';

const SECTOR = 512;
/** A job that failed is begun again after this long: what was wrong may be right by then. */
const FAILED_RETRY_MS = 60_000;

/** What copies into volumes of this node need. */
export interface CopyInContext {
  copier: CopierApi;
  /** The interfaces on which sources are read, those that are up. */
  interfaces: () => readonly { name: string; mac: string }[];
  /** Makes the data of a snapshot on this node readable; undefined when it is gone. @throws BackendError */
  expose: (snapshot: AoESnapshot, signal: AbortSignal) => Promise<{ path: string; bytes: number } | undefined>;
  /** Bytes that a copy reads per second, at most. 0: no limit. */
  bytesPerSecond: number;
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

export type CopyInResult =
  /** All of the data was compared, and is on stable storage. */
  { kind: 'whole' } | Copying | { kind: 'no-source'; message: string };

/**
 * Makes a volume with the data of a snapshot in another pool or on another node, step by step: call it again while the result is `copying`.
 * Each step may have been done before, by an agent that ended at any point. Until the data is whole the backing volume carries a mark,
 * with which it is never exported.
 * @throws BackendError
 */
export async function copyIn(
  context: CopyInContext,
  backend: Backend,
  request: Omit<CreateRequest, 'copy'>,
  { volume, snapshot }: { volume: AoEVolume; snapshot: AoESnapshot },
  signal: AbortSignal,
  onWipeProgress?: (progress: WipeProgress) => void,
): Promise<CopyInResult> {
  const { name, uid: snapshotUID = '' } = snapshot.metadata;
  const begun = await present(backend, request.uid, signal);
  if (begun && begun.copy === undefined && !begun.unwiped) return { kind: 'whole' };
  const problem = problemOf(volume, snapshot, request.bytes);
  if (problem !== undefined) return { kind: 'no-source', message: problem };
  // A new backing volume gets a new job: what an earlier job has copied is not in it.
  const copy = `${snapshotUID}/${randomBytes(4).toString('hex')}`;
  const backing = await createEmpty(backend, { ...request, copy }, signal, onWipeProgress);
  if (backing.copy === undefined) return { kind: 'whole' };
  const [began = '', token = ''] = backing.copy.split('/');
  if (began !== snapshotUID) {
    const message = `the copy was begun from an earlier AoESnapshot ${name} with UID ${began}, which is gone: delete the volume, and create it again`;
    return { kind: 'no-source', message };
  }
  return await advance(context, backend, { request, volume, snapshot, backing, token }, signal);
}

/** Why nothing can be copied from the snapshot, for people. */
function problemOf({ spec: { capacity, nodeName } }: AoEVolume, snapshot: AoESnapshot, bytes: number): string | undefined {
  const { metadata, spec, status } = snapshot;
  const what = `AoESnapshot ${metadata.name}`;
  if (status?.capacity === undefined || status.createdAt === undefined) return `${what} is not ready`;
  if (isUncommitted(snapshot)) return `${what} is not ready: AoESnapshotGroup ${spec.group?.name} is not committed`;
  if (parseQuantity(status.capacity) > bytes) return `${what} has ${status.capacity}, more than the ${capacity} of the volume`;
  return nodeName === undefined ? 'the volume has no node' : undefined;
}

/** The backing volume, when there is one. It is not touched: `open` would take it for one that is whole. */
async function present(backend: Backend, uid: string, signal: AbortSignal): Promise<BackingVolume | undefined> {
  return (await backend.measure(signal)).volumes.find((each) => each.uid === uid);
}

interface Work {
  request: Omit<CreateRequest, 'copy'>;
  volume: AoEVolume;
  snapshot: AoESnapshot;
  backing: BackingVolume;
  token: string;
}

/** Lets the copier begin or go on, and takes the mark off once all is verified. */
async function advance(context: CopyInContext, backend: Backend, work: Work, signal: AbortSignal): Promise<CopyInResult> {
  const { copier, interfaces } = context;
  const { request, volume, snapshot, backing, token } = work;
  const { status } = snapshot;
  const isLocal = status?.nodeName === volume.spec.nodeName;
  const bytes = roundDown(parseQuantity(status?.capacity ?? '0'), SECTOR);
  const paths = isLocal ? [] : interfaces();
  const place = isLocal ? '' : ` on node ${status?.nodeName}`;
  const from = `AoESnapshot ${snapshot.metadata.name} in pool ${status?.pool}${place}`;
  const report: Copying = {
    kind: 'copying',
    phase: 'Waiting',
    bytesDone: 0,
    bytesTotal: bytes,
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
    const isLate = known !== undefined && known.bytes === bytes && isAtRest(known);
    const source = isLate ? undefined : await sourceOf(context, work, { isLocal, bytes, paths }, signal);
    if (typeof source === 'string') return { ...report, ...progressOf(known, bytes), phase: 'Waiting', problem: source };
    const state = source ? await start(copier, { id, source, bytes }, context, backend, work, known, signal) : known;
    if (state?.phase !== 'verified') {
      const progress = progressOf(state, bytes);
      const problems = [progress.problem, ...(progress.problem === '' ? [] : troubleOf(snapshot))];
      return { ...report, ...progress, problem: problems.filter((each) => each !== '').join('; ') };
    }
    await backend.finishCopy(backing.uid, signal);
    // It is forgotten later otherwise.
    await copier.remove(id, signal).catch(() => {});
    return { kind: 'whole' };
  } catch (error) {
    if (!(error instanceof CopierError)) throw error;
    const doing = error.reason === 'unavailable' ? 'the copier on this node does not answer' : 'the copier refused';
    return { ...report, problem: `${doing}: ${error.message}`, failed: error.reason === 'invalid' };
  }
}

/** Whether a job needs no call: it is done, or failed a moment ago. */
function isAtRest({ phase, problemSince }: CopyState): boolean {
  if (phase === 'failed') return Date.now() - (problemSince?.getTime() ?? 0) < FAILED_RETRY_MS;
  return phase === 'verified';
}

/** What the copier is to read, or why that is not known yet, for people. */
async function sourceOf(
  { expose }: CopyInContext,
  { snapshot }: Work,
  { isLocal, bytes, paths }: { isLocal: boolean; bytes: number; paths: readonly { name: string }[] },
  signal: AbortSignal,
): Promise<CopySource | string> {
  const { metadata, status } = snapshot;
  if (isLocal) {
    const found = await expose(snapshot, signal);
    if (!found) return `AoESnapshot ${metadata.name} is gone from pool ${status?.pool} on this node`;
    return found.bytes < bytes
      ? `AoESnapshot ${metadata.name} has ${found.bytes} bytes instead of ${bytes}`
      : { kind: 'local', path: found.path };
  }
  if (paths.length === 0) return 'no interface of this node that carries AoE is up';
  if (!status?.copyAddress) return 'the snapshot has no address yet at which it can be read';
  const { shelf, slot } = status.copyAddress;
  return { kind: 'aoe', shelf, slot, serial: serialNumber(metadata.uid ?? '', 0), interfaces: paths.map(({ name }) => name) };
}

/** What is wrong with the source, as operator and agent of its node say: the copier itself only sees that nobody answers. */
function troubleOf({ metadata, status }: AoESnapshot): string[] {
  const types: string[] = [...(metadata.deletionTimestamp ? [] : [SnapshotCondition.Ready]), SnapshotCondition.Exported];
  const wrong = (status?.conditions ?? []).filter((each) => types.includes(each.type) && each.status !== 'True');
  return wrong.map(({ message }) => `AoESnapshot ${metadata.name}: ${message}`);
}

async function start(
  copier: CopierApi,
  { id, source, bytes }: { id: string; source: CopySource; bytes: number },
  { bytesPerSecond }: CopyInContext,
  backend: Backend,
  { volume, backing }: Work,
  known: CopyState | undefined,
  signal: AbortSignal,
): Promise<CopyState> {
  const destination = { path: backend.path(backing.uid), zeroed: backing.cleanness === undefined };
  const job: CopyJob = { id, volume: volume.metadata.name, source, destination, bytes, bytesPerSecond };
  try {
    return await copier.start(job, signal);
  } catch (error) {
    if (!(error instanceof CopierError) || error.reason !== 'conflict' || !known) throw error;
    // The same snapshot has another address or path now: its data is the same, and is copied again from the beginning.
    await copier.remove(id, signal);
    return await copier.start(job, signal);
  }
}

function progressOf(state: CopyState | undefined, bytesTotal: number): Pick<Copying, 'phase' | 'bytesDone' | 'problem' | 'failed'> {
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
