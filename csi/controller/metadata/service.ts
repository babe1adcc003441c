import type { AoESnapshot } from '../../../api/snapshot.ts';
import { isUncommitted } from '../../../api/snapshot.ts';
import { LUKS_HEADER_BYTES } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { type csi, fromInt64, type Handlers } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Call, Deps } from '../deps.ts';
import { describeSnapshotReadiness, findSnapshot, isReady, userBytes } from '../snapshots.ts';
import type { Agents } from './agents.ts';
import { type Message, messages, type View } from './ranges.ts';

export interface MetadataDeps extends Deps {
  readonly agents: Pick<Agents, 'list'>;
}

/** The fields of both requests that say which part is asked for. */
type Part = Pick<csi.v1.IGetMetadataAllocatedRequest, 'startingOffset' | 'maxResults'>;

/** The CSI SnapshotMetadata service. Every method fails with an RpcError and nothing else. */
export function snapshotMetadataService(deps: MetadataDeps): Handlers<csi.v1.SnapshotMetadata> {
  return {
    getMetadataAllocated: (request, call) => answered(deps, 'GetMetadataAllocated', allocated(deps, request, call), call),
    getMetadataDelta: (request, call) => answered(deps, 'GetMetadataDelta', delta(deps, request, call), call),
  };
}

async function* allocated(deps: MetadataDeps, request: csi.v1.IGetMetadataAllocatedRequest, call: Call) {
  const id = required(request.snapshotId, 'snapshot_id');
  const part = partOf(request);
  const snapshot = await usable(deps, id, call);
  const view = viewOf(snapshot, part);
  // What is not known counts as written, and a copy of all of it is right.
  if (untracked(deps, snapshot) !== undefined) return yield* messages([[{ offset: 0, bytes: view.hidden + view.bytes }]], view);
  yield* messages(deps.agents.list(query(snapshot, view), call.signal), view);
}

async function* delta(deps: MetadataDeps, request: csi.v1.IGetMetadataDeltaRequest, call: Call) {
  const baseId = required(request.baseSnapshotId, 'base_snapshot_id');
  const id = required(request.targetSnapshotId, 'target_snapshot_id');
  const part = partOf(request);
  const [base, target] = [await usable(deps, baseId, call), await usable(deps, id, call)];
  checkPair(base, target);
  const view = viewOf(target, part);
  const problem = untracked(deps, target);
  if (problem !== undefined) throw new RpcError(Code.FAILED_PRECONDITION, `${problem}: make a full backup`);
  const [was, is] = [base.status, target.status];
  if (was?.pool !== is?.pool || was?.nodeName !== is?.nodeName) {
    const place = ({ metadata, status }: AoESnapshot): string =>
      `AoESnapshot ${metadata.name} is in pool ${status?.pool} on node ${status?.nodeName}`;
    const message = `${place(base)}, and ${place(target)}: only snapshots in the same pool on the same node can be compared; make a full backup`;
    throw new RpcError(Code.FAILED_PRECONDITION, message);
  }
  yield* messages(deps.agents.list({ ...query(target, view), baseUID: base.metadata.uid ?? '' }, call.signal), view);
}

/** @throws RpcError INVALID_ARGUMENT, OUT_OF_RANGE */
function partOf({ startingOffset, maxResults }: Part): Pick<View, 'from' | 'maxResults'> {
  const from = fromInt64(startingOffset);
  if (from < 0) throw new RpcError(Code.OUT_OF_RANGE, `starting_offset ${from} is negative`);
  if ((maxResults ?? 0) < 0) throw new RpcError(Code.INVALID_ARGUMENT, `max_results ${maxResults} is negative`);
  return { from, maxResults: maxResults ?? 0 };
}

/** @throws RpcError OUT_OF_RANGE when the first byte that is asked for is behind the end */
function viewOf(snapshot: AoESnapshot, part: Pick<View, 'from' | 'maxResults'>): View {
  const bytes = userBytes(snapshot);
  if (part.from > bytes) {
    throw new RpcError(
      Code.OUT_OF_RANGE,
      `starting_offset ${part.from} is behind the end of AoESnapshot ${snapshot.metadata.name}, which has ${bytes} bytes`,
    );
  }
  return { ...part, bytes, hidden: snapshot.status?.encryption === undefined ? 0 : LUKS_HEADER_BYTES };
}

/** A snapshot whose data is whole. @throws RpcError NOT_FOUND; UNAVAILABLE while it is not */
async function usable(deps: MetadataDeps, id: string, call: Call): Promise<AoESnapshot> {
  const snapshot = await findSnapshot(deps, id, call);
  if (isReady(snapshot) && !isUncommitted(snapshot)) return snapshot;
  const why = snapshot.metadata.deletionTimestamp ? 'it is being deleted' : describeSnapshotReadiness(snapshot);
  throw new RpcError(Code.UNAVAILABLE, `AoESnapshot ${id} cannot be read now: ${why}`);
}

/** @throws RpcError INVALID_ARGUMENT when they are not an earlier and a later snapshot of one volume */
function checkPair(base: AoESnapshot, target: AoESnapshot): void {
  const [was, is] = [base, target].map(({ metadata }) => `AoESnapshot ${metadata.name}`);
  const refuse = (what: string): never => {
    throw new RpcError(Code.INVALID_ARGUMENT, what);
  };
  if (base.metadata.uid === target.metadata.uid) refuse(`base and target are both ${is}`);
  if (base.status?.volumeUID !== target.status?.volumeUID) {
    refuse(
      `${was} is of AoEVolume ${base.spec.volumeName} (${base.status?.volumeUID}), and ${is} of ${target.spec.volumeName} (${target.status?.volumeUID})`,
    );
  }
  // The instants are from clocks of storage nodes and the operator, which may be wrong, and an object may have waited for its instant. So both must
  // say so: what changed between two snapshots is the same in either direction.
  const isLater = (timeOf: (snapshot: AoESnapshot) => string | undefined): boolean =>
    Date.parse(timeOf(base) ?? '') > Date.parse(timeOf(target) ?? '');
  if (isLater(({ status }) => status?.createdAt) && isLater(({ metadata }) => metadata.creationTimestamp))
    refuse(`${was} was taken after ${is}: the base must be the earlier one`);
}

/** Why it is not known which blocks of a snapshot were written; undefined when it is known. */
function untracked(deps: MetadataDeps, { status }: AoESnapshot): string | undefined {
  const pool = status?.pool ?? '';
  // What authenticates the data lies between it, so its places on the disk are not those that its user sees.
  if (status?.encryption === 'LUKS2Authenticated') return 'changes of a volume with authenticated encryption are not tracked';
  if (deps.pools.get(pool)?.spec.backend === 'lvm') return `changes of volumes in pool ${pool} are not tracked, because its backend is lvm`;
  return undefined;
}

function query({ metadata, status }: AoESnapshot, { hidden, from }: View) {
  return { node: status?.nodeName ?? '', pool: status?.pool ?? '', snapshotUID: metadata.uid ?? '', from: hidden + from };
}

/** Lets a call fail with an RpcError and nothing else. */
async function* answered(deps: MetadataDeps, name: string, stream: AsyncIterable<Message>, { signal }: Call): AsyncGenerator<Message> {
  try {
    yield* stream;
  } catch (error) {
    if (error instanceof RpcError) throw error;
    if (signal.aborted)
      throw new RpcError(Code.CANCELLED, `${name}: the caller cancelled the call, or its deadline passed`, { cause: error });
    deps.log.warn({ call: name, error }, 'call failed');
    throw new RpcError(Code.UNAVAILABLE, `${name}: ${messageOf(error)}`, { cause: error });
  }
}
