import { parseAddress } from '../../../api/address.ts';
import type { NextCondition } from '../../../kube/mod.ts';
import { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import type { Deps } from '../deps.ts';
import { isLockUnbroken } from '../lock/continuity.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';

const { INACCESSIBLE } = csi.v1.VolumeHealthErrorType;
const { STORAGE_DEGRADED, STORAGE_UNREACHABLE } = csi.v1.StorageHealthErrorType;
/** How long a target may take to answer, in milliseconds. The whole call ends within 3 s. */
const ANSWER_MS = 2_500;

type Entry = csi.v1.VolumeHealth.IVolumeHealthEntry;

/**
 * NodeGetVolumeHealth: what is wrong with a volume for this node: its disk here, its file system, its target, its lock.
 * @throws RpcError NOT_FOUND when the volume is not staged here
 */
export async function volumeHealth(deps: Deps, request: csi.v1.INodeGetVolumeHealthRequest, signal: AbortSignal) {
  const volumeId = required(request.volumeId, 'volume_id');
  const staged = await deps.staged.get(volumeId);
  if (!staged) throw new RpcError(Code.NOT_FOUND, `volume ${volumeId} is not staged on node ${deps.nodeName}`);
  const [disk, target] = await Promise.all([problemOfDisk(deps, staged), problemOfTarget(deps, staged, signal)]);
  return { volumeHealth: { volumeId, healthStatuses: [disk, target].flatMap((each) => each ?? []) } };
}

async function problemOfDisk(deps: Deps, { address }: StagedVolume): Promise<Entry | undefined> {
  const disk = deps.localDisk(address);
  const health = await disk.health();
  if (health !== 'up') {
    const state = health === 'closewait' ? 'down,closewait' : health;
    const message = `disk ${address} is ${state} on node ${deps.nodeName}: its target has not answered for longer than aoe_deadsecs`;
    return { status: INACCESSIBLE, reason: 'DiskDown', message };
  }
  const failed = (await disk.liveMounts()).find(({ options, superOptions }) => superOptions.includes('ro') && !options.includes('ro'));
  if (!failed) return undefined;
  const message = `the kernel of node ${deps.nodeName} has made the ${failed.type} file system read-only after errors; see dmesg there`;
  return { status: INACCESSIBLE, reason: 'FilesystemFailed', message };
}

async function problemOfTarget(deps: Deps, staged: StagedVolume, signal: AbortSignal): Promise<Entry | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const configs = await deps.wire.configs(parseAddress(staged.address), limit).catch((error: unknown) => {
    signal.throwIfAborted();
    if (!limit.aborted) throw error;
    return [];
  });
  if (configs.length === 0) {
    const message = `no target answers node ${deps.nodeName} at ${staged.address}: the storage node or the network is down, or this node may not use the volume any more`;
    return { status: INACCESSIBLE, reason: 'TargetSilent', message };
  }
  if (staged.access !== 'Exclusive' || isLockUnbroken(configs, ownerOf(deps, staged), staged)) return undefined;
  const message = `node ${deps.nodeName} no longer has the lock of ${staged.address}: the lock was broken, or another host has the volume`;
  return { status: INACCESSIBLE, reason: 'NotTheHolder', message };
}

/**
 * NodeGetStorageHealth: whether this node can reach volumes at all.
 * @param condition what was found at the last check: condition InitiatorReady of this node's AoENode; undefined before the first
 */
export function storageHealth(condition: NextCondition | undefined): csi.v1.INodeGetStorageHealthResponse {
  if (!condition || (condition.status === 'True' && condition.reason !== 'InterfaceMissing')) return { backendHealth: [] };
  const { reason, message } = condition;
  return { backendHealth: [{ status: condition.status === 'True' ? STORAGE_DEGRADED : STORAGE_UNREACHABLE, reason, message }] };
}
