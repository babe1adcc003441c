import { reservedCapacity } from '../../api/capacity.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { type AoESnapshot, isElsewhere, isUncommitted } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { messageOf } from '../../kube/mod.ts';
import {
  type Backend,
  BackendError,
  type BackingVolume,
  type Cleanness,
  type CreateRequest,
  type OwnerOf,
  type WipeProgress,
  wholeBytes,
} from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';
import { copyExternal } from '../copier/copy-external.ts';
import { type CopyInContext, type CopyInResult, type CopyInto, type Copying, isWhole, type SourceProblem } from '../copier/copy-in.ts';
import { copySnapshot } from '../copier/copy-snapshot.ts';
import { finishMove, noteMoves, type OlderCopy } from './moved.ts';

/** What came of opening, or making, the data of a volume. */
export type DataResult =
  | AvailableData
  | { kind: 'no-pool' }
  /** The data is to come from elsewhere, which cannot be used. */
  | { kind: 'no-source'; message: string; reason?: SourceProblem }
  /** The data is copied from a snapshot in another pool or on another node, or from another target. */
  | Copying
  /** It was whole once, and by its mark it is half a copy now. */
  | { kind: 'half-copy'; name: string }
  /** It was there once, and is gone. */
  | { kind: 'lost'; path: string }
  /** There is none, and data of earlier AoEVolumes of this name is there: it may be what is looked for, so nothing is made. */
  | { kind: 'namesakes'; found: readonly BackingVolume[] }
  | OlderCopy
  /** It has become smaller than it was. Sizes are in bytes. */
  | { kind: 'shrunk'; name: string; bytes: number; expected: number }
  | { kind: 'failed'; error: BackendError };

export interface AvailableData {
  kind: 'available';
  /** What the target opens. */
  path: string;
  /** What an administrator would look for. */
  name: string;
  bytes: number;
  /** It may have been made by this call, so the pool has less room than before. */
  made: boolean;
  /** It was adopted: what it was called before. */
  adopted?: string;
  /** How far the disk was wiped, where it may still hold old data. */
  cleanness?: Cleanness;
  /** Its backing volume is larger than what may be exported. */
  tail?: true;
  /** Zeros that are written to it may be given back to the pool. */
  reclaims?: true;
  /** Why the data is smaller than it is to be: spec.capacity has grown, and the operator has reserved room, or a growth was interrupted. */
  growthProblem?: GrowthProblem;
}

export interface GrowthProblem {
  reason: 'NoRoomToGrow' | 'NotGrown';
  message: string;
}

export interface DataOptions {
  /** Why the data must not grow now, although room is reserved for that. */
  barrier?: string | undefined;
  /** Ends growth that is under way: the data stays available at the size that it had. The reason is an Error that says why. */
  stopGrowth?: AbortSignal | undefined;
  /** Finds the AoESnapshot of a name. */
  snapshot?: (name: string) => AoESnapshot | undefined;
  /** Finds the AoEVolume whose data something is that is to be adopted. */
  ownerOf?: OwnerOf | undefined;
  /** New data gets a tail. */
  tail?: boolean | undefined;
  /** Bytes that the target exports of it, where it does. */
  served?: number | undefined;
  /** Copies data from other pools and nodes. */
  copies?: CopyInContext | undefined;
  /** Called while new data is wiped. */
  onWipeProgress?: (progress: WipeProgress) => void;
}

/**
 * Opens the data of a volume, or makes it. Errors of the backend are part of the result.
 * @param mode `open`: the data was made before, so it is looked for, and never made again
 */
export async function ensureData(
  volume: AoEVolume,
  backend: Backend | undefined,
  mode: 'open' | 'create',
  signal: AbortSignal,
  { barrier, snapshot, ownerOf, copies, stopGrowth, onWipeProgress, tail, served = 0 }: DataOptions = {},
): Promise<DataResult> {
  if (!backend) return { kind: 'no-pool' };
  const { metadata, spec, status } = volume;
  const { uid = '', name } = metadata;
  // Not spec.capacity: what the operator has not reserved may be promised to another volume.
  const bytes = Math.min(parseQuantity(spec.capacity ?? '0'), parseQuantity(reservedCapacity(volume) ?? '0'));
  const request: CreateRequest = { uid, name, bytes, ...(tail ? { tail: true as const } : {}) };
  try {
    const adopts = mode === 'create' && spec.adopt !== undefined;
    // What is adopted is mostly of that name: it is named in the spec, so there is no doubt about it.
    const found = mode === 'create' && !adopts ? await backend.namesakes({ uid, name }, signal) : [];
    if (found.length > 0) return { kind: 'namesakes', found };
    const { source } = spec;
    if (mode === 'create' && source) {
      const result = await fromSource(source, { backend, request, volume, onWipeProgress }, { snapshot, copies }, signal);
      if (result) return result;
    }
    const opened = adopts
      ? await adopt(backend, volume, ownerOf, signal)
      : mode === 'open' || source
        ? await backend.open(uid, signal)
        : await createEmpty(backend, request, signal, onWipeProgress);
    if (!opened) return { kind: 'lost', path: backend.path(uid) };
    let backing = await finishMove(backend, volume, opened, copies?.oneAtATime, signal);
    // Not spec.capacity: it may have grown since the data was made.
    const expected = parseQuantity(status?.capacity ?? '0');
    if (backing.copy !== undefined) return { kind: 'half-copy', name: backing.name };
    backing = await keepExposed(backend, backing, Math.max(expected, served), signal);
    // Data of 0 bytes must not be exported: the target takes that for the size of the device.
    if (backing.bytes < Math.max(1, expected)) return { kind: 'shrunk', name: backing.name, bytes: backing.bytes, expected };
    const older = await noteMoves(backend, volume, backing, mode, signal);
    if (older) return older;
    let growthProblem: GrowthProblem | undefined;
    // An interrupted growth has taken its space from the pool already. It is finished even when spec.capacity was set back: then
    // status.capacity, and with it what is reserved, has that space.
    const wanted = Math.max(bytes, backing.extended ?? 0);
    if (backing.bytes < wanted) {
      // The volume stays in use at the size that it has, whatever becomes of its growth.
      try {
        if (!backend.growth) growthProblem = { reason: 'NotGrown', message: `pool ${spec.pool} cannot make volumes larger` };
        else if (barrier !== undefined) growthProblem = { reason: 'NotGrown', message: barrier };
        else backing = await backend.growth.grow(uid, wanted, stopGrowth ? AbortSignal.any([signal, stopGrowth]) : signal);
      } catch (error) {
        signal.throwIfAborted();
        if (stopGrowth?.aborted) growthProblem = { reason: 'NotGrown', message: messageOf(stopGrowth.reason) };
        else if (!(error instanceof BackendError)) throw error;
        else growthProblem = { reason: error.reason === 'PoolFull' ? 'NoRoomToGrow' : 'NotGrown', message: error.message };
      }
    }
    return {
      kind: 'available',
      path: backend.path(uid),
      name: backing.name,
      bytes: backing.bytes,
      made: mode === 'create',
      ...(backing.adopted === undefined ? {} : { adopted: backing.adopted }),
      ...(backing.cleanness ? { cleanness: backing.cleanness } : {}),
      ...(backing.tail === undefined ? {} : { tail: true as const }),
      // Whoever gets back what was adopted counts on its space.
      ...(backend.reclaims && backing.adopted === undefined ? { reclaims: true as const } : {}),
      ...(growthProblem === undefined ? {} : { growthProblem }),
    };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return { kind: 'failed', error };
  }
}

/**
 * Makes the tail of a volume data when more was exported than its mark says: an agent or a target of an earlier version has done so, and what is
 * there may be a host's.
 * @param exposed the bytes that were exported, by the status or by the target
 * @returns the volume as it is then
 * @throws BackendError
 */
export async function keepExposed(backend: Backend, backing: BackingVolume, exposed: number, signal: AbortSignal): Promise<BackingVolume> {
  return isTailExposed(backing, exposed) ? await backend.exportTail(backing.uid, signal) : backing;
}

/** Whether so many exported bytes are more than the mark of a volume says, and end in its tail. */
export function isTailExposed(backing: BackingVolume, exposed: number): boolean {
  const { bytes, tail } = backing;
  return tail !== undefined && bytes > 0 && bytes < exposed && exposed <= wholeBytes(backing);
}

/** Makes what spec.adopt names the data of the volume. @throws BackendError */
async function adopt(
  { adoption }: Backend,
  { metadata: { uid = '', name }, spec: { adopt: from = '', capacity = '0', pool } }: AoEVolume,
  ownerOf: OwnerOf | undefined,
  signal: AbortSignal,
): Promise<BackingVolume> {
  if (!adoption || !ownerOf) throw new BackendError('NotAdoptable', `nothing in pool ${pool} can be adopted`);
  return await adoption.adopt({ uid, name, bytes: parseQuantity(capacity), from }, ownerOf, signal);
}

/**
 * Makes a volume with the data of a snapshot in the same pool on this node.
 * @returns why that is not possible; undefined when the volume is there
 * @throws BackendError
 */
async function restore(
  backend: Backend,
  request: CreateRequest,
  { spec: { source, pool, capacity } }: AoEVolume,
  snapshot: AoESnapshot | undefined,
  signal: AbortSignal,
): Promise<DataResult | undefined> {
  const what = `AoESnapshot ${source?.snapshot}`;
  const no = (message: string): DataResult => ({ kind: 'no-source', message });
  // It may have been deleted as soon as the data was whole.
  if (!snapshot) return (await isComplete(backend, request, signal)) ? undefined : no(`${what} does not exist`);
  const { metadata, status } = snapshot;
  const { snapshots } = backend;
  if (!snapshots?.restore) return no(`pool ${pool} has no snapshots`);
  if (metadata.deletionTimestamp || status?.capacity === undefined) return no(`${what} is not ready`);
  if (isUncommitted(snapshot)) return no(`${what} is not ready: AoESnapshotGroup ${snapshot.spec.group?.name} is not committed`);
  if (parseQuantity(status.capacity) > request.bytes) return no(`${what} has ${status.capacity}, more than the ${capacity} of the volume`);
  if (await snapshots.restore(request, metadata.uid ?? '', signal)) return undefined;
  return no(`${what} is gone from pool ${pool} on this node`);
}

/** Whether the volume has all its data and its full size already. */
async function isComplete(backend: Pick<Backend, 'find'>, { uid, bytes }: CreateRequest, signal: AbortSignal): Promise<boolean> {
  const found = await backend.find(uid, signal);
  return found !== undefined && isWhole(found) && found.bytes >= bytes;
}

/** Makes a volume with the data of its source. @returns why it has not all of it yet; undefined when it has @throws BackendError */
async function fromSource(
  { snapshot: name = '', external }: NonNullable<AoEVolume['spec']['source']>,
  into: CopyInto,
  { snapshot, copies }: { snapshot: DataOptions['snapshot']; copies: DataOptions['copies'] },
  signal: AbortSignal,
): Promise<DataResult | undefined> {
  const { backend, request, volume } = into;
  const whenWhole = (result: CopyInResult): DataResult | undefined => (result.kind === 'whole' ? undefined : result);
  const noCopier: DataResult = { kind: 'no-source', message: 'this agent runs without a copier' };
  if (external) return copies ? whenWhole(await copyExternal(copies, into, external, signal)) : noCopier;
  const from = snapshot?.(name);
  const isCopied = from && (isElsewhere(from, volume.spec) || (backend.snapshots && !backend.snapshots.restore));
  if (!isCopied) return await restore(backend, request, volume, from, signal);
  return copies ? whenWhole(await copySnapshot(copies, into, from, signal)) : noCopier;
}
