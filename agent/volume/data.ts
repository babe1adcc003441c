import { reservedCapacity } from '../../api/capacity.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { messageOf } from '../../kube/mod.ts';
import {
  type Backend,
  BackendError,
  type BackingVolume,
  type Cleanness,
  type CreateRequest,
  type WipeProgress,
} from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';

/** What came of opening, or making, the data of a volume. */
export type DataResult =
  | AvailableData
  | { kind: 'no-pool' }
  /** The data is to come from a snapshot, which cannot be used. */
  | { kind: 'no-source'; message: string }
  /** It was there once, and is gone. */
  | { kind: 'lost'; path: string }
  /** There is none, and data of earlier AoEVolumes of this name is there: it may be what is looked for, so nothing is made. */
  | { kind: 'namesakes'; found: readonly BackingVolume[] }
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
  /** How far the disk was wiped, where it may still hold old data. */
  cleanness?: Cleanness;
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
  { barrier, snapshot, stopGrowth, onWipeProgress }: DataOptions = {},
): Promise<DataResult> {
  if (!backend) return { kind: 'no-pool' };
  const { metadata, spec, status } = volume;
  const { uid = '', name } = metadata;
  // Not spec.capacity: what the operator has not reserved may be promised to another volume.
  const bytes = Math.min(parseQuantity(spec.capacity ?? '0'), parseQuantity(reservedCapacity(volume) ?? '0'));
  try {
    const found = mode === 'create' ? await backend.namesakes({ uid, name }, signal) : [];
    if (found.length > 0) return { kind: 'namesakes', found };
    const { source } = spec;
    if (mode === 'create' && source) {
      const problem = await restore(backend, { uid, name, bytes }, volume, snapshot?.(source.snapshot), signal);
      if (problem !== undefined) return { kind: 'no-source', message: problem };
    }
    let backing =
      mode === 'open' || source
        ? await backend.open(uid, signal)
        : await createEmpty(backend, { uid, name, bytes }, signal, onWipeProgress);
    if (!backing) return { kind: 'lost', path: backend.path(uid) };
    // Not spec.capacity: it may have grown since the data was made.
    const expected = parseQuantity(status?.capacity ?? '0');
    // Data of 0 bytes must not be exported: the target takes that for the size of the device.
    if (backing.bytes < Math.max(1, expected)) return { kind: 'shrunk', name: backing.name, bytes: backing.bytes, expected };
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
      ...(backing.cleanness ? { cleanness: backing.cleanness } : {}),
      ...(growthProblem === undefined ? {} : { growthProblem }),
    };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return { kind: 'failed', error };
  }
}

/**
 * Makes a volume with the data of a snapshot in the same pool on this node.
 * @returns why that is not possible; undefined when the volume is there
 * @throws BackendError
 */
async function restore(
  { snapshots }: Backend,
  request: CreateRequest,
  { spec: { source, pool, nodeName, capacity } }: AoEVolume,
  snapshot: AoESnapshot | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const what = `AoESnapshot ${source?.snapshot}`;
  if (!snapshot) return `${what} does not exist`;
  const { metadata, status } = snapshot;
  if (!snapshots || status?.nodeName !== nodeName || status?.pool !== pool) return `${what} is not in pool ${pool} on node ${nodeName}`;
  if (metadata.deletionTimestamp || status?.capacity === undefined) return `${what} is not ready`;
  if (parseQuantity(status.capacity) > request.bytes) return `${what} has ${status.capacity}, more than the ${capacity} of the volume`;
  return (await snapshots.restore(request, metadata.uid ?? '', signal)) ? undefined : `${what} is gone from pool ${pool} on this node`;
}
