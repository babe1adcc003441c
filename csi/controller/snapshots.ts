import { parseQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS } from '../../api/resources.ts';
import { type AoESnapshot, SnapshotCondition } from '../../api/snapshot.ts';
import { userBytesOf } from '../../api/volume.ts';
import { TimeoutError } from '../../kube/mod.ts';
import { type csi, int64 } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';
import { isResourceName } from './request/resource-name.ts';
import { topologyOf } from './topology.ts';
import { timeLeft } from './wait.ts';

/** Whether the snapshot can be used: it is whole, and its node is there. */
export function isReady({ metadata, status }: AoESnapshot): boolean {
  return status?.phase === 'Ready' && status.createdAt !== undefined && !metadata.deletionTimestamp;
}

/** A snapshot that was taken, as CSI describes it. */
export function describeSnapshot(deps: Pick<Deps, 'nodes' | 'health'>, snapshot: AoESnapshot): csi.v1.ISnapshot {
  const { metadata, spec, status } = snapshot;
  const ms = Date.parse(status?.createdAt ?? '');
  return {
    snapshotId: metadata.name,
    sourceVolumeId: spec.volumeName,
    sizeBytes: int64(userBytes(snapshot)),
    creationTime: { seconds: int64(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 },
    readyToUse: isReady(snapshot),
    ...(spec.group ? { groupSnapshotId: spec.group.name } : {}),
    accessibleTopology: topologyOf(deps, status?.nodeName),
  };
}

/** Size in bytes that a volume with the snapshot's data has for its user, without what encryption takes. */
export function userBytes({ status }: AoESnapshot): number {
  return userBytesOf(status ?? {}, parseQuantity(status?.capacity ?? '0'));
}

/** Why a snapshot is not ready, for people. */
export function describeSnapshotReadiness({ status }: AoESnapshot): string {
  const ready = status?.conditions?.find(({ type }) => type === SnapshotCondition.Ready);
  return ready?.message ?? 'its status has no condition yet; is the operator running?';
}

/** @throws RpcError NOT_FOUND */
export async function findSnapshot(deps: Deps, name: string, { signal }: Call): Promise<AoESnapshot> {
  const snapshot = isResourceName(name) ? await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal }) : undefined;
  if (!snapshot) throw new RpcError(Code.NOT_FOUND, `AoESnapshot ${name} does not exist`);
  return snapshot;
}

/**
 * Waits, on the watch, until exactly this snapshot is in a state.
 * @param until called with each state of it; undefined means to wait on
 * @returns undefined when the time is over
 * @throws RpcError ABORTED when it was deleted
 */
export async function waitForSnapshot<R>(
  deps: Deps,
  { metadata: { name, uid } }: AoESnapshot,
  until: (snapshot: AoESnapshot) => R | undefined,
  call: Call,
): Promise<R | undefined> {
  let seen = false;
  try {
    return await deps.snapshots.waitFor(
      name,
      (now: AoESnapshot | undefined): R | undefined => {
        if (now?.metadata.uid === uid) {
          seen = true;
          return until(now as AoESnapshot);
        }
        // If the watch has not shown it yet, it is a little late. If it has, the snapshot is gone.
        if (seen) throw new RpcError(Code.ABORTED, `AoESnapshot ${name} was deleted while it was waited for`);
        return undefined;
      },
      { signal: call.signal, timeoutMs: timeLeft(call) },
    );
  } catch (error) {
    if (error instanceof TimeoutError) return undefined;
    throw error;
  }
}
