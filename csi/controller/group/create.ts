import { CREATED_BY } from '../../../api/meta.ts';
import { AOE_SNAPSHOT_GROUPS, API_VERSION } from '../../../api/resources.ts';
import { type AoESnapshot, isBeingCopied } from '../../../api/snapshot.ts';
import { type AoESnapshotGroup, GROUP_READY, isCommitted } from '../../../api/snapshot-group.ts';
import { isConflict, isInvalid, messageOf, TimeoutError } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { type Call, type Deps, FIELD_MANAGER } from '../deps.ts';
import { findVolume } from '../find-volume.ts';
import { RESERVED, refuseParameters } from '../request/class-parameters.ts';
import { resourceName } from '../request/resource-name.ts';
import { isReady } from '../snapshots.ts';
import { timeLeft } from '../wait.ts';
import { describeGroup, describeGroupReadiness, readGroup } from './groups.ts';

/** Codes for the reasons of a group that has failed. After all other reasons the caller tries again. */
const REFUSALS: Readonly<Record<string, Code>> = {
  SnapshotsUnsupported: Code.FAILED_PRECONDITION,
  TargetTooOld: Code.FAILED_PRECONDITION,
  VolumeDeleting: Code.FAILED_PRECONDITION,
  PoolFull: Code.RESOURCE_EXHAUSTED,
  VolumeNotFound: Code.NOT_FOUND,
};

/**
 * CreateVolumeGroupSnapshot: creates an AoESnapshotGroup and waits until it is committed. When it is repeated, it finds the group again. One
 * that has failed is deleted, so that the next call is a new attempt.
 */
export async function createGroupSnapshot(deps: Deps, request: csi.v1.ICreateVolumeGroupSnapshotRequest, call: Call) {
  const name = resourceName(required(request.name, 'name'));
  const volumes = request.sourceVolumeIds ?? [];
  if (volumes.length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'source_volume_ids is missing');
  if (new Set(volumes).size < volumes.length) throw new RpcError(Code.INVALID_ARGUMENT, 'source_volume_ids: a volume is named twice');
  refuseParameters('VolumeGroupSnapshotClass', request.parameters);
  return deps.busy.run(name, 'CreateVolumeGroupSnapshot', async () => {
    const group = (await existing(deps, name, volumes, call)) ?? (await create(deps, name, volumes, request.parameters ?? {}, call));
    const last = await ended(deps, group, call);
    if (last.status?.stage === 'Failed') throw await refusal(deps, last, call);
    if (!isCommitted(last)) {
      throw new RpcError(Code.DEADLINE_EXCEEDED, `AoESnapshotGroup ${name} is not taken yet: ${describeGroupReadiness(last)}`);
    }
    for (const member of last.status?.members ?? []) await ready(deps, member.name, call);
    const groupSnapshot = await describeGroup(deps, last, call);
    if (!groupSnapshot) throw new RpcError(Code.UNAVAILABLE, `AoESnapshotGroup ${name} lacks a member: ${describeGroupReadiness(last)}`);
    return { groupSnapshot };
  });
}

/** @throws RpcError ALREADY_EXISTS when the group of that name is of other volumes */
async function existing(deps: Deps, name: string, volumes: readonly string[], call: Call): Promise<AoESnapshotGroup | undefined> {
  const group = await readGroup(deps, name, call);
  if (!group) return undefined;
  const present = group.spec.members.map(({ volumeName }) => volumeName);
  if ([...present].sort().join() !== [...volumes].sort().join()) {
    throw new RpcError(Code.ALREADY_EXISTS, `AoESnapshotGroup ${name} exists, of AoEVolumes ${present.join(', ')}`);
  }
  if (group.metadata.deletionTimestamp)
    throw new RpcError(Code.ABORTED, `AoESnapshotGroup ${name} is being deleted: try again when it is gone`);
  return group;
}

async function create(
  deps: Deps,
  name: string,
  volumes: readonly string[],
  parameters: { [key: string]: string },
  call: Call,
): Promise<AoESnapshotGroup> {
  const members: { volumeName: string; volumeUID?: string }[] = [];
  for (const volumeName of volumes) {
    const { metadata, spec } = await findVolume(deps, volumeName, call);
    if (spec.external) {
      throw new RpcError(
        Code.FAILED_PRECONDITION,
        `AoEVolume ${volumeName} is served by a target outside of this project: it has no snapshots`,
      );
    }
    members.push({ volumeName, ...(metadata.uid ? { volumeUID: metadata.uid } : {}) });
  }
  const [from, namespace] = ['name', 'namespace'].map((key) => parameters[`${RESERVED}volumegroupsnapshot/${key}`]);
  const annotations = { [CREATED_BY]: 'csi', ...(from && namespace ? { 'aoe.dev/volume-group-snapshot': `${namespace}/${from}` } : {}) };
  const object: AoESnapshotGroup = {
    apiVersion: API_VERSION,
    kind: AOE_SNAPSHOT_GROUPS.kind,
    metadata: { name, annotations },
    spec: { members },
  };
  try {
    return await deps.kube.create<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, object, { fieldManager: FIELD_MANAGER, signal: call.signal });
  } catch (error) {
    if (isInvalid(error)) throw new RpcError(Code.INVALID_ARGUMENT, messageOf(error), { cause: error });
    if (isConflict(error)) throw new RpcError(Code.ABORTED, `AoESnapshotGroup ${name} was created meanwhile: try again`, { cause: error });
    throw error;
  }
}

/** The group when it is committed or has failed, or as it is when the time is over. */
async function ended(deps: Deps, group: AoESnapshotGroup, call: Call): Promise<AoESnapshotGroup> {
  const { name, uid } = group.metadata;
  let last: AoESnapshotGroup | undefined;
  try {
    return await deps.groups.waitFor(
      name,
      (now) => {
        if (now?.metadata.uid === uid) {
          last = now;
          return now && (isCommitted(now) || now.status?.stage === 'Failed') ? now : undefined;
        }
        // If the watch has not shown it yet, it is a little late. If it has, the group is gone.
        if (last) throw new RpcError(Code.ABORTED, `AoESnapshotGroup ${name} was deleted while it was waited for`);
        return undefined;
      },
      { signal: call.signal, timeoutMs: timeLeft(call) },
    );
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    return last ?? group;
  }
}

/** Waits until a member of a committed group can be used, or is being copied. When it cannot in time, the answer says so. */
async function ready(deps: Deps, name: string, call: Call): Promise<void> {
  try {
    const isDone = (now: AoESnapshot | undefined): boolean => now !== undefined && (isReady(now) || isBeingCopied(now));
    await deps.snapshots.waitFor(name, isDone, { signal: call.signal, timeoutMs: timeLeft(call) });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
}

/** The error for a group that has failed. It is deleted, unless a person made it. */
async function refusal(deps: Deps, group: AoESnapshotGroup, { signal }: Call): Promise<RpcError> {
  const { name, uid, annotations } = group.metadata;
  if (annotations?.[CREATED_BY] === 'csi') await deps.kube.delete(AOE_SNAPSHOT_GROUPS, name, { ...(uid ? { uid } : {}), signal });
  const reason = group.status?.conditions?.find(({ type }) => type === GROUP_READY)?.reason ?? '';
  return new RpcError(REFUSALS[reason] ?? Code.UNAVAILABLE, `AoESnapshotGroup ${name}: ${describeGroupReadiness(group)}`);
}
