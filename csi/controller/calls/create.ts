import { isPlaced } from '../../../api/capacity.ts';
import { CREATED_BY } from '../../../api/meta.ts';
import { formatQuantity } from '../../../api/quantity.ts';
import { AOE_VOLUMES, API_VERSION } from '../../../api/resources.ts';
import { NEVER } from '../../../api/takeover/after.ts';
import { type AoEVolume, isReportOfPlace, VolumeCondition } from '../../../api/volume.ts';
import { type Condition, isConflict, isInvalid, messageOf } from '../../../kube/mod.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { required } from '../../required.ts';
import { type Call, type Deps, FIELD_MANAGER } from '../deps.ts';
import { conditionOf } from '../describe.ts';
import { parameterError, RECLAIM_EVERY, type Source, TAKEOVER_AFTER, type Wanted, wantedOf } from '../request/request.ts';
import { resourceName } from '../request/resource-name.ts';
import { capacityOf, chooseSize } from '../request/size.ts';
import { checkSource, dropCloned, ensureSource, namingSource, sourceOf } from '../source.ts';
import { findTopology } from '../topology.ts';
import { waitFor } from '../wait.ts';
import { bringHere, isElsewhere } from './elsewhere.ts';

/** Reasons of the operator's condition Placed that may last, and the gRPC code for each. */
const REFUSALS: Readonly<Record<string, Code>> = {
  PoolFull: Code.RESOURCE_EXHAUSTED,
  NoEligibleNode: Code.RESOURCE_EXHAUSTED,
  AddressRangeExhausted: Code.RESOURCE_EXHAUSTED,
  NoSuchPool: Code.INVALID_ARGUMENT,
  SourceTooLarge: Code.OUT_OF_RANGE,
};

/**
 * CreateVolume: creates an AoEVolume and waits until it is exported. When it is repeated, it finds the AoEVolume again.
 *
 * Once the AoEVolume exists, it fails only with codes after which the caller tries again (ABORTED, DEADLINE_EXCEEDED, UNAVAILABLE). After
 * any other code the caller forgets the volume, and nobody would ever delete it.
 */
export async function createVolume(deps: Deps, request: csi.v1.ICreateVolumeRequest, call: Call): Promise<{ volume: csi.v1.IVolume }> {
  const name = resourceName(required(request.name, 'name'));
  const wanted = wantedOf(request);
  const known = wanted.source ? undefined : await readyAlready(deps, name, wanted, call);
  if (known) {
    deps.unplaced.look(known, false);
    return answer(deps, known, request, call);
  }
  return deps.busy.run(name, 'CreateVolume', async () => {
    const volume = await bringHere(deps, await findOrCreate(deps, name, wanted, call), wanted, call);
    const impossible = await ensureSource(deps, volume, wanted.source, call);
    if (impossible) throw await deleteUnusable(deps, volume, impossible, call);
    const { generation = 0 } = volume.metadata;
    const until = (now: AoEVolume) => {
      // The watch may not show yet what this call has changed.
      if ((now.metadata.generation ?? 0) < generation) return undefined;
      const late = givenBack(deps, now);
      return readyOrRefused(now) ?? late;
    };
    const ready = await waitFor(deps, volume, { what: 'its export', until }, call);
    if (ready instanceof RpcError) throw await deleteUnusable(deps, volume, ready, call);
    if (wanted.source?.kind === 'volume') await dropCloned(deps, ready, call);
    const capacity = capacityOf(ready);
    if (wanted.bounds.most > 0 && capacity > wanted.bounds.most) {
      const message = `AoEVolume ${name} became ${capacity} bytes, more than the limit of ${wanted.bounds.most}`;
      throw await deleteUnusable(deps, volume, new RpcError(Code.OUT_OF_RANGE, message), call);
    }
    return answer(deps, ready, request, call);
  });
}

/**
 * The volume, when all has been done already. csi-provisioner often repeats a call that has succeeded; the repetition must not make the
 * attachment wait, which may be under way by then.
 */
async function readyAlready(deps: Deps, name: string, wanted: Wanted, call: Call): Promise<AoEVolume | undefined> {
  const isReady = (volume: AoEVolume | undefined): volume is AoEVolume =>
    volume !== undefined && !volume.metadata.deletionTimestamp && readyOrRefused(volume) === volume;
  if (!isReady(deps.volumes.get(name))) return undefined;
  // The watch may be late: the volume may have been deleted.
  const volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: call.signal });
  if (!isReady(volume)) return undefined;
  checkSame(volume, wanted);
  return (await isElsewhere(deps, volume, wanted, call)) ? undefined : volume;
}

async function answer(
  deps: Deps,
  volume: AoEVolume,
  { volumeContentSource: contentSource }: csi.v1.ICreateVolumeRequest,
  call: Call,
): Promise<{ volume: csi.v1.IVolume }> {
  const { name } = volume.metadata;
  const described = {
    volumeId: name,
    capacityBytes: int64(capacityOf(volume)),
    accessibleTopology: await findTopology(deps, volume.spec.nodeName, call),
  };
  return { volume: { ...described, ...(contentSource ? { contentSource } : {}) } };
}

/** Why a parameter of the StorageClass does nothing in this installation or pool. */
function futileParameter(deps: Deps, { pool, takeoverAfter = NEVER, reclaimEvery }: Wanted): RpcError | undefined {
  if (takeoverAfter !== NEVER && !deps.hasAutomaticTakeover)
    return parameterError(TAKEOVER_AFTER, `automatic takeover is off: set takeover.enabled=true in the chart, or write ${NEVER}`);
  if (reclaimEvery !== undefined && deps.pools.get(pool)?.spec.backend === 'lvm')
    return parameterError(RECLAIM_EVERY, `it does nothing in pool ${pool}: lvm gives nothing back`);
  return undefined;
}

async function findOrCreate(deps: Deps, name: string, wanted: Wanted, call: Call): Promise<AoEVolume> {
  const { pool, access, bounds, limits, encryption, takeoverAfter, reclaimEvery, segments, annotations, source } = wanted;
  const refusal = futileParameter(deps, wanted);
  // A volume that is there no longer needs its source, and keeps what was asked for when it was created.
  const found = source || refusal ? await find(deps, name, wanted, call) : undefined;
  if (found) return found;
  if (refusal) throw refusal;
  const began = source ? await checkSource(deps, wanted, source, call) : { bytes: 0, disk: 0 };
  const least = Math.max(bounds.least, began.bytes);
  const naming = namingSource(name, source);
  const spec: AoEVolume['spec'] = {
    capacity: formatQuantity(Math.max(chooseSize({ ...bounds, least }, deps.pools.get(pool), wanted), began.disk)),
    pool,
    access,
    ...(encryption ? { encryption } : {}),
    ...(takeoverAfter === undefined ? {} : { takeoverAfter }),
    initiators: {},
    deletionPolicy: 'Delete',
    ...(segments.length > 0 ? { segments: [...segments] } : {}),
    ...(reclaimEvery === undefined ? {} : { reclaimEvery }),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    ...naming.spec,
  };
  const metadata = { name, annotations: { ...annotations, ...naming.annotations } };
  const object: AoEVolume = { apiVersion: API_VERSION, kind: AOE_VOLUMES.kind, metadata, spec };
  try {
    return await deps.kube.create<AoEVolume>(AOE_VOLUMES, object, { fieldManager: FIELD_MANAGER, signal: call.signal });
  } catch (error) {
    if (isInvalid(error)) throw new RpcError(Code.INVALID_ARGUMENT, messageOf(error), { cause: error });
    if (!isConflict(error)) throw error;
  }
  const volume = await find(deps, name, wanted, call);
  if (!volume) throw new RpcError(Code.ABORTED, `AoEVolume ${name} was deleted while it was read: try again`);
  return volume;
}

/** @throws RpcError ALREADY_EXISTS when the volume of that name is not what is requested, wherever it is */
async function find(deps: Deps, name: string, wanted: Wanted, { signal }: Call): Promise<AoEVolume | undefined> {
  const volume = await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
  if (volume) checkSame(volume, wanted);
  return volume;
}

function checkSame(volume: AoEVolume, { pool, access, bounds, encryption, source }: Wanted): void {
  const { metadata, spec } = volume;
  const differs = (what: string, has: string | undefined, asked: string): never => {
    throw new RpcError(Code.ALREADY_EXISTS, `AoEVolume ${metadata.name} exists with ${what} ${has ?? ''}, but ${asked} is requested`);
  };
  const describe = (each: Source | undefined): string => (each ? `${each.kind} ${each.name}` : 'none');
  if (metadata.deletionTimestamp)
    throw new RpcError(Code.ABORTED, `AoEVolume ${metadata.name} is being deleted: try again when it is gone`);
  if (spec.external) differs('an external target', '', 'a new volume');
  if (spec.source?.external) differs('the data of an external target', '', 'a new volume');
  if (spec.pool !== pool) differs('pool', spec.pool, pool);
  if (spec.access !== access) differs('access', spec.access, access);
  if (spec.encryption !== encryption) differs('encryption', spec.encryption ?? 'none', encryption ?? 'none');
  const began = describe(sourceOf(volume));
  if (began !== describe(source)) differs('source', began, describe(source));
  const has = capacityOf(volume);
  if (has < bounds.least) differs('capacity', spec.capacity, `at least ${formatQuantity(bounds.least)}`);
  if (bounds.most > 0 && has > bounds.most) differs('capacity', spec.capacity, `at most ${formatQuantity(bounds.most)}`);
}

/** The volume when it is exported, an error when it cannot be placed, undefined while neither is known. */
function readyOrRefused(volume: AoEVolume): AoEVolume | RpcError | undefined {
  const [ready, provisioned] = [conditionOf(volume, VolumeCondition.Ready), conditionOf(volume, VolumeCondition.Provisioned)];
  // Conditions alone could be those of a namesake that was deleted a moment ago. The agent's own are there before their sum is.
  if ((ready ? ready.status === 'True' : isServed(volume)) && isPlaced(volume)) return volume;
  // The operator chose the place by an old measurement of the pool, and places no volume again for that: a new one may find a better place.
  const isFull = provisioned?.status === 'False' && provisioned.reason === 'PoolFull' && isReportOfPlace(volume);
  if (isFull && volume.status?.capacity === undefined)
    return new RpcError(Code.RESOURCE_EXHAUSTED, `AoEVolume ${volume.metadata.name}: ${provisioned.message}`);
  const placed = notPlaced(volume);
  const code = placed && REFUSALS[placed.reason];
  return placed && code !== undefined ? new RpcError(code, `AoEVolume ${volume.metadata.name}: ${placed.message}`) : undefined;
}

/** Why a volume has no place, as the operator says of its present spec: the segments may have changed. */
function notPlaced(volume: AoEVolume): Condition | undefined {
  const placed = conditionOf(volume, VolumeCondition.Placed);
  const { generation = 0 } = volume.metadata;
  const isCurrent = (placed?.observedGeneration ?? generation) >= generation;
  return placed?.status === 'False' && isCurrent && !isPlaced(volume) ? placed : undefined;
}

/**
 * An error for a volume whose only possible nodes have been away for minutes: after it, the scheduler may choose a node of another segment. Not for
 * one with a source, which is mostly bound to the node of that.
 */
function givenBack(deps: Deps, volume: AoEVolume): RpcError | undefined {
  const placed = notPlaced(volume);
  const isWaiting = placed?.reason === 'NodesNotReady' && volume.spec.source === undefined;
  if (!deps.unplaced.look(volume, isWaiting)) return undefined;
  return new RpcError(Code.RESOURCE_EXHAUSTED, `AoEVolume ${volume.metadata.name} has had no place for minutes: ${placed?.message}`);
}

/** Whether the agent says that the volume is exported, and that nobody else answers at its address. */
function isServed(volume: AoEVolume): boolean {
  const [exported, conflict] = [conditionOf(volume, VolumeCondition.Exported), conditionOf(volume, VolumeCondition.AddressConflict)];
  return conditionOf(volume, VolumeCondition.Provisioned)?.status === 'True' && exported?.status === 'True' && conflict?.status !== 'True';
}

/** Deletes a volume that cannot be what was requested, and returns the error. A volume that a person created stays. */
async function deleteUnusable(deps: Deps, { metadata }: AoEVolume, error: RpcError, { signal }: Call): Promise<RpcError> {
  const { name, uid, annotations } = metadata;
  if (annotations?.[CREATED_BY] === 'csi') await deps.kube.delete(AOE_VOLUMES, name, { ...(uid ? { uid } : {}), signal });
  return error;
}
