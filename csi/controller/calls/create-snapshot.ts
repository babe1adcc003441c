import { AOE_SNAPSHOTS, API_VERSION } from '../../../api/resources.ts';
import { type AoESnapshot, SnapshotCondition } from '../../../api/snapshot.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { isConflict, isInvalid, messageOf } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { type Call, type Deps, FIELD_MANAGER } from '../deps.ts';
import { findVolume } from '../find-volume.ts';
import { CREATED_BY } from '../request/request.ts';
import { resourceName } from '../request/resource-name.ts';
import { describeSnapshot, describeSnapshotReadiness, isReady, waitForSnapshot } from '../snapshots.ts';

/** Parameters with this prefix are for csi-snapshotter. */
const RESERVED = 'csi.storage.k8s.io/';

/** Reasons that last, and the gRPC code for each: the AoESnapshot is deleted, since the caller forgets it. After all others it tries again. */
const REFUSALS: Readonly<Record<string, Code>> = {
  SnapshotsUnsupported: Code.FAILED_PRECONDITION,
  PoolFull: Code.RESOURCE_EXHAUSTED,
  VolumeNotFound: Code.NOT_FOUND,
  VolumeDeleting: Code.FAILED_PRECONDITION,
};

/** CreateSnapshot: creates an AoESnapshot and waits until it is taken. When it is repeated, it finds the AoESnapshot again. */
export async function createSnapshot(deps: Deps, request: csi.v1.ICreateSnapshotRequest, call: Call) {
  const name = resourceName(required(request.name, 'name'));
  const volumeName = required(request.sourceVolumeId, 'source_volume_id');
  const unknown = Object.keys(request.parameters ?? {}).filter((key) => !key.startsWith(RESERVED));
  if (unknown.length > 0) {
    const message = `VolumeSnapshotClass parameter ${unknown.join(', ')} is not known: there are none`;
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  }
  return deps.busy.run(name, 'CreateSnapshot', async () => {
    const snapshot = (await existing(deps, name, volumeName, call)) ?? (await create(deps, name, volumeName, call));
    const outcome = await waitForSnapshot(deps, snapshot, readyOrRefused, call);
    if (outcome instanceof RpcError) {
      const { uid, annotations } = snapshot.metadata;
      if (annotations?.[CREATED_BY] === 'csi')
        await deps.kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal: call.signal });
      throw outcome;
    }
    if (outcome) return { snapshot: describeSnapshot(outcome) };
    const last = deps.snapshots.get(name) ?? snapshot;
    const code = last.status?.phase === 'Failed' || isNodeAway(last) ? Code.UNAVAILABLE : Code.DEADLINE_EXCEEDED;
    throw new RpcError(code, `AoESnapshot ${name} is not taken yet: ${describeSnapshotReadiness(last)}`);
  });
}

/** @throws RpcError ALREADY_EXISTS when the snapshot of that name is of another volume */
async function existing(deps: Deps, name: string, volumeName: string, { signal }: Call): Promise<AoESnapshot | undefined> {
  const snapshot = await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal });
  if (!snapshot) return undefined;
  const { metadata, spec } = snapshot;
  if (spec.volumeName !== volumeName) {
    throw new RpcError(Code.ALREADY_EXISTS, `AoESnapshot ${name} exists, of AoEVolume ${spec.volumeName} and not of ${volumeName}`);
  }
  if (metadata.deletionTimestamp) throw new RpcError(Code.ABORTED, `AoESnapshot ${name} is being deleted: try again when it is gone`);
  return snapshot;
}

async function create(deps: Deps, name: string, volumeName: string, call: Call): Promise<AoESnapshot> {
  const volume: AoEVolume = await findVolume(deps, volumeName, call);
  const { uid } = volume.metadata;
  if (volume.spec.external) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `AoEVolume ${volumeName} is served by a target outside of this project: it has no snapshots`,
    );
  }
  const object: AoESnapshot = {
    apiVersion: API_VERSION,
    kind: AOE_SNAPSHOTS.kind,
    metadata: { name, annotations: { [CREATED_BY]: 'csi' } },
    spec: { volumeName, ...(uid ? { volumeUID: uid } : {}), deletionPolicy: 'Delete' },
  };
  try {
    return await deps.kube.create<AoESnapshot>(AOE_SNAPSHOTS, object, { fieldManager: FIELD_MANAGER, signal: call.signal });
  } catch (error) {
    if (isInvalid(error)) throw new RpcError(Code.INVALID_ARGUMENT, messageOf(error), { cause: error });
    if (isConflict(error)) throw new RpcError(Code.ABORTED, `AoESnapshot ${name} was created meanwhile: try again`, { cause: error });
    throw error;
  }
}

/** The snapshot when it is taken, an error when it cannot be, undefined while neither is known. */
function readyOrRefused(snapshot: AoESnapshot): AoESnapshot | RpcError | undefined {
  if (isReady(snapshot)) return snapshot;
  const ready = snapshot.status?.conditions?.find(({ type }) => type === SnapshotCondition.Ready);
  const code = ready?.status === 'False' ? REFUSALS[ready.reason] : undefined;
  // Once it was taken it stays, whatever happens to it.
  if (!ready || code === undefined || snapshot.status?.createdAt !== undefined) return undefined;
  return new RpcError(code, `AoESnapshot ${snapshot.metadata.name}: ${ready.message}`);
}

function isNodeAway({ status }: AoESnapshot): boolean {
  return status?.conditions?.some(({ type, status: state }) => type === SnapshotCondition.Ready && state === 'Unknown') ?? false;
}
