import { CREATED_BY } from '../../../api/meta.ts';
import { AOE_VOLUMES } from '../../../api/resources.ts';
import { persistentVolumeOf } from '../../../api/usage/persistent-volume.ts';
import { type AoEVolume, CLAIM } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { changeSpec } from '../change-spec.ts';
import type { Call, Deps } from '../deps.ts';
import { describeUser } from '../describe.ts';
import type { Wanted } from '../request/request.ts';
import { segmentOfNode } from '../topology.ts';

/** Whether a volume is, or could come to be, on a segment that the caller does not permit. */
export async function isElsewhere(deps: Deps, volume: AoEVolume, { segments }: Pick<Wanted, 'segments'>, call: Call): Promise<boolean> {
  return segments.length > 0 && isOutside(await segmentsOfVolume(deps, volume, call), segments);
}

/** @param may segments on which a volume may be; none when it may be on all */
function isOutside(may: readonly string[], permitted: readonly string[]): boolean {
  return may.length === 0 || may.some((segment) => !permitted.includes(segment));
}

/** The segments on which a volume is, or may be; none when it may be on all. */
async function segmentsOfVolume(deps: Deps, { spec }: AoEVolume, call: Call): Promise<readonly string[]> {
  return spec.nodeName ? [await segmentOfNode(deps, spec.nodeName, call)] : (spec.segments ?? []);
}

/**
 * Lets a volume be where the caller permits it now. csi-provisioner names another segment than before when the node is gone that the scheduler had
 * chosen, and the caller of a volume that is on the first one would forget it after ALREADY_EXISTS. One without a place gets one on the other
 * segment. One that has a place, and that nobody has had, is deleted, to be made again.
 * @throws RpcError ABORTED when it was deleted, here or by others, ALREADY_EXISTS when it is somebody's
 */
export async function bringHere(deps: Deps, first: AoEVolume, wanted: Wanted, call: Call): Promise<AoEVolume> {
  if (!(await isElsewhere(deps, first, wanted, call))) return first;
  const { name } = first.metadata;
  const asked = wanted.segments.join(', ');
  const refuse = (volume: AoEVolume, may: readonly string[]): never => {
    const has = may.join(', ') || 'any';
    throw new RpcError(Code.ALREADY_EXISTS, `AoEVolume ${volume.metadata.name} exists with segment ${has}, but ${asked} is requested`);
  };
  const before = await segmentsOfVolume(deps, first, call);
  const change = (volume: AoEVolume): object | undefined => {
    if (volume.metadata.annotations?.[CREATED_BY] !== 'csi') refuse(volume, before);
    const { nodeName, segments = [] } = volume.spec;
    return nodeName || !isOutside(segments, wanted.segments) ? undefined : { segments: [...wanted.segments] };
  };
  const volume = await changeSpec(deps, first, change, call).catch((error: unknown) => {
    // To the caller, NOT_FOUND would mean that the source does not exist.
    const isGone = error instanceof RpcError && error.code === Code.NOT_FOUND;
    throw isGone ? new RpcError(Code.ABORTED, `AoEVolume ${name} was deleted meanwhile: try again`) : error;
  });
  if (!(await isElsewhere(deps, volume, wanted, call))) return volume;
  const may = await segmentsOfVolume(deps, volume, call);
  if (!(await isUnclaimed(deps, volume, wanted, call))) refuse(volume, may);
  const { uid } = volume.metadata;
  await deps.kube.delete(AOE_VOLUMES, name, { ...(uid ? { uid } : {}), signal: call.signal });
  const where = may.join(', ') || 'any';
  const message = `AoEVolume ${name} was made on segment ${where}, but ${asked} is requested now: it is deleted, and made again when it is gone`;
  throw new RpcError(Code.ABORTED, message);
}

/**
 * Whether nobody can have had a volume of ours: it has no data yet, or is for the claim that still asks for it, whose UID is in its name. Should a
 * PersistentVolume be made at this moment, the agent keeps the data.
 */
async function isUnclaimed(deps: Deps, volume: AoEVolume, { annotations }: Wanted, { signal }: Call): Promise<boolean> {
  const { metadata, status } = volume;
  const claim = metadata.annotations?.[CLAIM];
  const isOfCaller = claim !== undefined && claim === annotations[CLAIM];
  if ((status?.capacity !== undefined && !isOfCaller) || describeUser(volume)) return false;
  return (await persistentVolumeOf(deps.kube, volume, signal)) === undefined;
}
