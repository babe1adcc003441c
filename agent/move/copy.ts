import { randomBytes } from 'node:crypto';
import { SECTOR } from '../../aoe/mod.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, isReportOfPlace, movesOf, serialNumber, VolumeCondition } from '../../api/volume.ts';
import { type Backend, type BackingVolume, roundDown, type WipeProgress } from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';
import { CopierError, type CopyJob, type CopySource, describeFailure } from '../copier/api.ts';
import { type CopyInContext, isAtRest, progressOf } from '../copier/copy-in.ts';
import { jobId, jobsOf, removeJobs } from '../copier/job-id.ts';
import { startJob } from '../copier/start-job.ts';
import type { TargetConnection } from '../target/connection.ts';

type Report = NonNullable<NonNullable<AoEVolume['status']>['move']>;
export type CopyProgress = Omit<Report, 'id' | 'nodeName'>;

export interface MoveCopyContext extends Pick<CopyInContext, 'copier' | 'interfaces' | 'bytesPerSecond'> {
  /** Name of this node. */
  node: string;
  target: Pick<TargetConnection, 'known' | 'supports'>;
  /** What the copier opens when the data is on this node, too; undefined when the pool does not exist. */
  localPath: (volume: AoEVolume) => string | undefined;
  /** Called while the new backing volume is wiped. */
  onWipeProgress?: ((progress: WipeProgress) => void) | undefined;
}

/**
 * Copies the data of a volume to this place, step by step: call it again until the phase is Verified. Each step may have been done before. The
 * backing volume carries a mark with the id of the move, with which it is never exported. The mark stays: only the operator's write, which
 * gives the volume this place, makes the copy count.
 * @throws BackendError
 */
export async function copyHere(context: MoveCopyContext, backend: Backend, volume: AoEVolume, signal: AbortSignal): Promise<CopyProgress> {
  const { copier, interfaces, node, target } = context;
  const { metadata, spec, status } = volume;
  const { uid = '', name } = metadata;
  const isLocal = spec.nodeName === node;
  const bytes = parseQuantity(status?.capacity ?? '0');
  const bytesTotal = roundDown(bytes, SECTOR);
  const macs = isLocal ? [] : [...new Set(interfaces().map(({ mac }) => mac.toLowerCase()))].sort();
  const report = { bytesTotal, ...(macs.length > 0 ? { macs } : {}) };
  const waits = (message: string): CopyProgress => ({ ...report, phase: 'Waiting', bytesDone: 0, message: message.slice(0, 1000) });
  const copy = `${spec.move?.id}/${randomBytes(4).toString('hex')}`;
  if (!target.known) return waits(`the target process on node ${node} has not said yet what it can do`);
  const tail = target.supports('exported_size') ? { tail: true as const } : {};
  const backing = await createEmpty(backend, { uid, name, bytes, copy, ...tail }, signal, context.onWipeProgress);
  if (backing.copy === undefined)
    return waits(`there is data of this volume already, ${backing.name}: remove it on node ${node} if it is not needed`);
  const [id, token = ''] = backing.copy.split('/');
  if (id !== spec.move?.id) return waits(`${backing.name} is half a copy of an earlier move or volume: remove it on node ${node}`);
  try {
    if (backing.bytes < bytes) {
      // A growth that was under way when the move began has ended meanwhile. Half a copy is worth nothing, so it is made again in the new size.
      await removeJobs(copier, uid, signal);
      await backend.remove(uid, signal);
      return waits(`the volume has grown to ${status?.capacity} since the copy was begun, and is copied again`);
    }
    const job = jobId(uid, token);
    const jobs = await jobsOf(copier, uid, signal);
    // One for an earlier backing volume of the same path would write into this one.
    for (const each of jobs) if (each.id !== job) await copier.remove(each.id, signal);
    let state = jobs.find((each) => each.id === job);
    if (!(state && state.bytes === bytesTotal && isAtRest(state))) {
      const source = sourceOf(context, volume, isLocal);
      if (typeof source === 'string') return waits(source);
      state = await startJob(copier, jobOf(context, backend, backing, volume, { id: job, source, bytes: bytesTotal }), signal);
    }
    const { phase, bytesDone, problem } = progressOf(state, bytesTotal);
    if (state.phase === 'verified') return { ...report, phase: 'Verified', bytesDone };
    return { ...report, phase, bytesDone, ...(problem === '' ? {} : { message: problem.slice(0, 1000) }) };
  } catch (error) {
    if (!(error instanceof CopierError)) throw error;
    return waits(`the copier on node ${node} ${describeFailure(error)}`);
  }
}

/** What the copier is to read, or why it cannot be read yet, for people. */
function sourceOf({ interfaces, localPath }: MoveCopyContext, volume: AoEVolume, isLocal: boolean): CopySource | string {
  const { metadata, spec, status } = volume;
  const exported = isReportOfPlace(volume) ? status?.conditions?.find(({ type }) => type === VolumeCondition.Exported) : undefined;
  if (exported?.reason !== (isLocal ? 'Moving' : 'ServedForMove'))
    return `the agent on node ${spec.nodeName} does not let it be read yet: ${exported?.message ?? 'it has not reported'}`;
  if (isLocal) {
    const path = localPath(volume);
    return path === undefined ? `AoEPool ${spec.pool} does not exist` : { kind: 'local', path };
  }
  const paths = interfaces();
  if (paths.length === 0) return 'no interface of this node that carries AoE is up';
  const { shelf = 0, slot = 0 } = spec.address ?? {};
  const serial = serialNumber(metadata.uid ?? '', movesOf(volume));
  return { kind: 'aoe', shelf, slot, serial, interfaces: paths.map(({ name }) => name) };
}

function jobOf(
  { bytesPerSecond }: MoveCopyContext,
  backend: Backend,
  { uid, cleanness }: BackingVolume,
  { metadata }: AoEVolume,
  job: Pick<CopyJob, 'id' | 'source' | 'bytes'>,
): CopyJob {
  return { ...job, volume: metadata.name, destination: { path: backend.path(uid), zeroed: cleanness === undefined }, bytesPerSecond };
}
