import { isPlaced } from '../../../api/capacity.ts';
import { formatQuantity, parseQuantity } from '../../../api/quantity.ts';
import { type AoEVolume, isAuthenticated, VolumeCondition } from '../../../api/volume.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { changeSpec } from '../change-spec.ts';
import type { Call, Deps } from '../deps.ts';
import { conditionOf, describeReadiness } from '../describe.ts';
import { findVolume } from '../find-volume.ts';
import { unsupported } from '../request/capabilities.ts';
import { type Bounds, boundsOf, capacityOf, chooseSize } from '../request/size.ts';
import { waitFor } from '../wait.ts';

/**
 * ControllerExpandVolume: sets spec.capacity, and waits until the target serves the new size. When it is repeated, it goes on.
 *
 * A growth for which the pool has no room fails with OUT_OF_RANGE, after spec.capacity was set back: nothing is under way then. For
 * csi-resizer that is final, so that the size of the claim can be reduced again. RESOURCE_EXHAUSTED would not be: it goes on with the
 * larger size after that code (external-resizer, pkg/util/util.go, IsFinalError).
 */
export async function expandVolume(deps: Deps, request: csi.v1.IControllerExpandVolumeRequest, call: Call) {
  const name = required(request.volumeId, 'volume_id');
  if (!request.capacityRange) throw new RpcError(Code.INVALID_ARGUMENT, 'capacity_range is missing');
  const bounds = boundsOf(request.capacityRange);
  if (bounds.least === 0 && bounds.most === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'capacity_range names no size');
  const problem = request.volumeCapability && unsupported(request.volumeCapability);
  if (problem) throw new RpcError(Code.INVALID_ARGUMENT, problem);
  return deps.busy.run(name, 'ControllerExpandVolume', async () => {
    const volume = await findVolume(deps, name, call);
    const expanded = isLargeEnough(volume, bounds) ? volume : await expand(deps, volume, bounds, call);
    const bytes = capacityOf(expanded);
    if (bounds.most > 0 && bytes > bounds.most)
      throw new RpcError(
        Code.OUT_OF_RANGE,
        `AoEVolume ${name} has ${bytes} bytes, more than the limit of ${bounds.most}: it never becomes smaller`,
      );
    return { capacityBytes: int64(bytes), nodeExpansionRequired: needsNode(request, await findVolume(deps, name, call)) };
  });
}

function isLargeEnough(volume: AoEVolume, { least, most }: Bounds): boolean {
  const bytes = capacityOf(volume);
  return volume.status?.capacity !== undefined && bytes >= least && (least > 0 || bytes >= most);
}

/** @throws RpcError INVALID_ARGUMENT, FAILED_PRECONDITION or OUT_OF_RANGE when it cannot grow, and those of {@link waitFor} */
async function expand(deps: Deps, volume: AoEVolume, bounds: Bounds, call: Call): Promise<AoEVolume> {
  const { name, deletionTimestamp } = volume.metadata;
  if (volume.spec.external)
    throw new RpcError(Code.INVALID_ARGUMENT, `AoEVolume ${name} is a target that somebody else serves: make it larger there`);
  if (deletionTimestamp) throw new RpcError(Code.FAILED_PRECONDITION, `AoEVolume ${name} is being deleted`);
  if (isAuthenticated(volume.spec)) {
    // The code that the CSI specification has for a capacity_range that is not possible.
    const message = `AoEVolume ${name} has ${capacityOf(volume)} bytes and authenticated encryption, and cannot grow: copy the data into a larger volume`;
    throw new RpcError(Code.OUT_OF_RANGE, message);
  }
  if (!isPlaced(volume)) throw new RpcError(Code.UNAVAILABLE, `AoEVolume ${name} is not placed yet`);
  const bytes = chooseSize(bounds, deps.pools.get(volume.spec.pool ?? ''), volume.spec);
  const asked = await setCapacity(deps, volume, formatQuantity(bytes), call);
  const expanded = await waitFor(deps, asked, { what: 'its growth', until: (now) => grownOrRefused(now, asked, bytes), describe }, call);
  if (!(expanded instanceof RpcError)) return expanded;
  if (expanded.code === Code.OUT_OF_RANGE) await takeBack(deps, asked, call);
  throw expanded;
}

/** Sets spec.capacity. Makes it smaller only when the pool has no room for the present value. */
function setCapacity(deps: Deps, first: AoEVolume, capacity: string, call: Call): Promise<AoEVolume> {
  const wanted = parseQuantity(capacity);
  const change = (volume: AoEVolume): object | undefined => {
    const has = parseQuantity(volume.spec.capacity ?? '0');
    // Somebody has asked for a larger size already: leave it, unless the pool has no room for it.
    return has === wanted || (has > wanted && !isRefused(volume)) ? undefined : { capacity };
  };
  return changeSpec(deps, first, change, call);
}

function isRefused(volume: AoEVolume): boolean {
  return (
    conditionOf(volume, VolumeCondition.Grown)?.reason === 'PoolFull' ||
    conditionOf(volume, VolumeCondition.Provisioned)?.reason === 'NoRoomToGrow'
  );
}

/** What keeps a volume from having its new size, as far as it is known. */
function describe(volume: AoEVolume): string {
  const grown = conditionOf(volume, VolumeCondition.Grown);
  const provisioned = conditionOf(volume, VolumeCondition.Provisioned);
  const problem = provisioned?.reason === 'NotGrown' ? provisioned.message : grown?.status === 'False' ? grown.message : undefined;
  return problem ?? describeReadiness(volume);
}

/** Sets spec.capacity to what the volume has, unless somebody has changed it since. */
async function takeBack(deps: Deps, asked: AoEVolume, call: Call): Promise<void> {
  const now = await findVolume(deps, asked.metadata.name, call);
  const has = now.status?.capacity;
  if (has !== undefined && now.metadata.uid === asked.metadata.uid && now.spec.capacity === asked.spec.capacity)
    await setCapacity(deps, now, has, call);
}

/** The volume when it has grown, an error when it cannot; undefined while neither is known. */
function grownOrRefused(volume: AoEVolume, { metadata: { generation = 0 } }: AoEVolume, bytes: number): AoEVolume | RpcError | undefined {
  if (parseQuantity(volume.status?.capacity ?? '0') >= bytes) return volume;
  const say = (code: Code, message: string): RpcError => new RpcError(code, `AoEVolume ${volume.metadata.name} does not grow: ${message}`);
  const isCurrent = (condition: { observedGeneration?: number | undefined }): boolean => (condition.observedGeneration ?? -1) >= generation;
  const grown = conditionOf(volume, VolumeCondition.Grown);
  if (grown?.status === 'False' && isCurrent(grown)) {
    if (grown.reason === 'PoolFull') return say(Code.OUT_OF_RANGE, grown.message);
    if (grown.reason === 'PoolNotReady') return say(Code.UNAVAILABLE, grown.message);
  }
  const provisioned = conditionOf(volume, VolumeCondition.Provisioned);
  if (provisioned && isCurrent(provisioned) && provisioned.reason === 'NoRoomToGrow') return say(Code.OUT_OF_RANGE, provisioned.message);
  return undefined;
}

/** Whether NodeExpandVolume must follow: for every file system, and for a disk that a node has now. */
function needsNode({ volumeCapability }: csi.v1.IControllerExpandVolumeRequest, { spec }: AoEVolume): boolean {
  return !volumeCapability?.block || (spec.initiators.nodes ?? []).length > 0;
}
