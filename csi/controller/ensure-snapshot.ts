import { AOE_SNAPSHOTS, API_VERSION } from '../../api/resources.ts';
import { type AoESnapshot, isBeingCopied, SnapshotCondition } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { isConflict, isInvalid, messageOf } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { type Call, type Deps, FIELD_MANAGER } from './deps.ts';
import { describeSnapshotReadiness, isReady, waitForSnapshot } from './snapshots.ts';

/** Reasons of the condition Ready that last, and the gRPC code for each. */
export type Refusals = Readonly<Record<string, Code>>;

/** An AoESnapshot that is wanted. */
export interface WantedSnapshot {
  readonly name: string;
  readonly volumeName: string;
  /** The volume as it is now; called when there is no AoESnapshot of that name yet. @throws RpcError */
  readonly volume: () => Promise<AoEVolume>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Whether the file system of the volume is frozen meanwhile. */
  readonly freeze?: boolean;
  /** Whether it is enough that its instant is over, and its data may still be copied. */
  readonly mayBeUnfinished?: boolean;
  /** The AoESnapshot goes when this one does. */
  readonly owner?: AoEVolume;
}

/**
 * Creates an AoESnapshot, or finds it again, and waits until it is taken.
 * @returns the AoESnapshot when it is taken, and whole unless {@link WantedSnapshot.mayBeUnfinished}. With `refused` it never will be taken:
 * the caller is to delete it
 * @throws RpcError ALREADY_EXISTS when the snapshot of that name is another one; ABORTED, UNAVAILABLE or DEADLINE_EXCEEDED when it may
 * still be taken
 */
export async function ensureSnapshot(
  deps: Deps,
  wanted: WantedSnapshot,
  refusals: Refusals,
  call: Call,
): Promise<{ snapshot: AoESnapshot; refused?: RpcError }> {
  const { name } = wanted;
  const snapshot = (await existing(deps, wanted, call)) ?? (await create(deps, wanted, call));
  const outcome = await waitForSnapshot(deps, snapshot, (now) => readyOrRefused(now, wanted, refusals), call);
  if (outcome instanceof RpcError) return { snapshot, refused: outcome };
  if (outcome) return { snapshot: outcome };
  const last = deps.snapshots.get(name) ?? snapshot;
  const code = last.status?.phase === 'Failed' || isNodeAway(last) ? Code.UNAVAILABLE : Code.DEADLINE_EXCEEDED;
  throw new RpcError(code, `AoESnapshot ${name} is not taken yet: ${describeSnapshotReadiness(last)}`);
}

async function existing(
  deps: Deps,
  { name, volumeName, freeze = false, owner }: WantedSnapshot,
  { signal }: Call,
): Promise<AoESnapshot | undefined> {
  const snapshot = await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal });
  if (!snapshot) return undefined;
  const { metadata, spec } = snapshot;
  if (spec.volumeName !== volumeName) {
    throw new RpcError(Code.ALREADY_EXISTS, `AoESnapshot ${name} exists, of AoEVolume ${spec.volumeName} and not of ${volumeName}`);
  }
  if (freeze && !spec.freeze)
    throw new RpcError(Code.ALREADY_EXISTS, `AoESnapshot ${name} exists, and the file system is not frozen for it (spec.freeze)`);
  if (metadata.deletionTimestamp) throw new RpcError(Code.ABORTED, `AoESnapshot ${name} is being deleted: try again when it is gone`);
  if (owner && !metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid)) {
    throw new RpcError(
      Code.ABORTED,
      `AoESnapshot ${name} belongs to an earlier AoEVolume ${owner.metadata.name}: try again when it is gone`,
    );
  }
  return snapshot;
}

async function create(
  deps: Deps,
  { name, volumeName, volume, annotations, freeze = false, owner }: WantedSnapshot,
  { signal }: Call,
): Promise<AoESnapshot> {
  const { metadata, spec } = await volume();
  if (spec.external) {
    const message = `AoEVolume ${volumeName} is served by a target outside of this project: no snapshot of it can be taken`;
    throw new RpcError(Code.FAILED_PRECONDITION, message);
  }
  const object: AoESnapshot = {
    apiVersion: API_VERSION,
    kind: AOE_SNAPSHOTS.kind,
    metadata: { name, annotations: { ...annotations }, ...(owner ? { ownerReferences: [referenceTo(owner)] } : {}) },
    spec: { volumeName, ...(metadata.uid ? { volumeUID: metadata.uid } : {}), deletionPolicy: 'Delete', ...(freeze ? { freeze } : {}) },
  };
  try {
    return await deps.kube.create<AoESnapshot>(AOE_SNAPSHOTS, object, { fieldManager: FIELD_MANAGER, signal });
  } catch (error) {
    if (isInvalid(error)) throw new RpcError(Code.INVALID_ARGUMENT, messageOf(error), { cause: error });
    if (isConflict(error)) throw new RpcError(Code.ABORTED, `AoESnapshot ${name} was created meanwhile: try again`, { cause: error });
    throw error;
  }
}

function referenceTo({ apiVersion, kind, metadata: { name, uid = '' } }: AoEVolume) {
  return { apiVersion, kind, name, uid };
}

/** The snapshot when it is taken, an error when it cannot be, undefined while neither is known. */
function readyOrRefused(
  snapshot: AoESnapshot,
  { mayBeUnfinished = false }: WantedSnapshot,
  refusals: Refusals,
): AoESnapshot | RpcError | undefined {
  if (isReady(snapshot) || (mayBeUnfinished && isBeingCopied(snapshot))) return snapshot;
  const ready = snapshot.status?.conditions?.find(({ type }) => type === SnapshotCondition.Ready);
  const code = ready?.status === 'False' ? refusals[ready.reason] : undefined;
  // Once it was taken it stays, whatever happens to it.
  if (!ready || code === undefined || snapshot.status?.createdAt !== undefined) return undefined;
  return new RpcError(code, `AoESnapshot ${snapshot.metadata.name}: ${ready.message}`);
}

function isNodeAway({ status }: AoESnapshot): boolean {
  return status?.conditions?.some(({ type, status: state }) => type === SnapshotCondition.Ready && state === 'Unknown') ?? false;
}
