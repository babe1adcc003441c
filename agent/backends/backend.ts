import { MiB } from '../../api/quantity.ts';
import type { Blocks } from './blocks.ts';

/**
 * How clean a new volume is. `zeroed`: every block reads as zeros. `discarded`: the device was told to discard every block, and
 * most of them then read as zeros. `ends`: only the first and the last MiB are zeros, where file systems, partition tables, RAID
 * and LVM keep their labels; the blocks between them may still hold another volume's old data.
 */
export type Cleanness = 'zeroed' | 'discarded' | 'ends';

/** The backing volume of an AoEVolume, as the backend has it. */
export interface BackingVolume {
  /** metadata.uid of the AoEVolume that it was made for. */
  uid: string;
  /** Name of that AoEVolume, where the backend keeps it. */
  volume?: string | undefined;
  /** What an administrator would look for: `vg0/aoe-…`, or the path of a file. */
  name: string;
  /** The part of it that may be exported: all of it but its tail, unless it is growing. */
  bytes: number;
  /** What may be exported once a growth is finished that is not yet. What lies behind `bytes` may still hold another volume's old data. */
  extended?: number;
  /** Bytes behind those that may be exported, which no host ever sees; absent when it has no tail. See {@link TAIL_BYTES}. */
  tail?: number;
  /** The largest spec.moves of its AoEVolume that was noted here; 0 when it is undefined. */
  moves?: number;
  /** It may still hold another volume's old data: `wipe` it before it is exported. */
  unwiped?: true;
  /** How far it was wiped, where that is known and some of it may still hold old data. */
  cleanness?: Exclude<Cleanness, 'zeroed'>;
  /** Data is copied into it that is not known to be whole: it is never exported. What {@link CreateRequest.copy} said. */
  copy?: string;
  /** It was adopted: what an administrator looked for before, `vg0/old` or the path of a file, and finds again once it is retained. */
  adopted?: string;
}

/** How far a wipe has come, in bytes. */
export interface WipeProgress {
  /** From the start of the volume. */
  zeroed: number;
  /** Of the volume. */
  bytes: number;
}

/** State of a pool on this node. Sizes are in bytes. */
export interface Measurement {
  ready: boolean;
  /** It is not ready only because it is full: what is there can be used, and removed. */
  full?: true;
  /** Why the pool is not ready, or what to watch, and what to do. */
  message?: string | undefined;
  /** What the volumes may take in all. It is never more than there is: thin and sparse volumes count with their full size. */
  size: number;
  /** The part of `size` that is not promised to an existing volume. */
  free: number;
  /** Other pools with the same space: `size` and `free` are those of all of them together. */
  sharedWith?: string[] | undefined;
  /** Volumes are rounded up to a multiple of this. */
  granularity: number;
  /** What a new volume takes beside that, for its tail. */
  tail: number;
  /** Of a thin pool: writes can fill it, without a new volume. */
  canFill?: boolean | undefined;
  dataPercent?: string | undefined;
  metadataPercent?: string | undefined;
  /** Every backing volume of an AoEVolume in this pool. What carries our mark and is of another {@link Kind} is not among them. */
  volumes: BackingVolume[];
}

export interface CreateRequest {
  uid: string;
  /** Name of the AoEVolume: kept beside the data, for administrators. */
  name: string;
  bytes: number;
  /**
   * Data will be copied into it. A new volume is marked so from the beginning, durably, until {@link Backend.finishCopy}. It may have the
   * characters that a UID has, and `/`.
   */
  copy?: string;
  /** A new volume gets a tail: only where the target exports as many bytes as it is told, and not all that the device has. */
  tail?: true;
}

/**
 * Where backing volumes are kept. A volume is named by its AoEVolume's UID, looked for before it is made, and found again
 * after a crash at any point. Calls for different volumes may overlap; calls for one volume must not.
 *
 * What only some backends can do is an optional member with an interface of its own, such as `growth`: callers write
 * `backend.growth?.`, and no backend has a method that only refuses.
 */
export interface Backend {
  /** Reads size and state. A missing volume group or directory is a measurement that is not ready, not an error. */
  measure(signal: AbortSignal): Promise<Measurement>;
  /**
   * The backing volume of an AoEVolume as it is. Nothing is activated or marked, and the space of the pool is not counted: it may be called
   * every few seconds.
   * @returns undefined when there is no such volume
   * @throws BackendError also when the pool cannot say whether there is one
   */
  find(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined>;
  /**
   * Makes a volume that was exported before ready to be exported again: activates it when it is inactive. Its data is not touched.
   * @returns undefined when there is no such volume: it is never made here
   * @throws BackendError
   */
  open(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined>;
  /**
   * Backing volumes that were made for other AoEVolumes of this name; none when this AoEVolume has a backing volume of its own. A
   * retained one is not among them, nor one whose AoEVolume's name is not known.
   * @throws BackendError
   */
  namesakes(volume: Pick<CreateRequest, 'uid' | 'name'>, signal: AbortSignal): Promise<BackingVolume[]>;
  /**
   * Makes the volume when there is none, and finishes what a crash left half made. It does not wipe: see `unwiped` of the result,
   * and createEmpty.
   * @throws BackendError
   */
  create(request: CreateRequest, signal: AbortSignal): Promise<BackingVolume>;
  /**
   * Wipes a volume that is `unwiped`, and marks it as wiped. A volume without that mark is left alone, whatever it holds. A wipe that
   * was cut short goes on near where it was. Absent where new volumes read as zeros.
   * @param onProgress called when it begins, and from time to time
   * @throws BackendError
   */
  wipe?(uid: string, signal: AbortSignal, onProgress?: (progress: WipeProgress) => void): Promise<BackingVolume>;
  /**
   * Notes durably, beside the data, at which spec.moves of its AoEVolume it is served. A smaller number elsewhere shows an older copy.
   * @throws BackendError
   */
  noteMoves(uid: string, moves: number, signal: AbortSignal): Promise<void>;
  /**
   * Makes the tail of a volume a part of what may be exported, as it is, because hosts could write there already: an agent or a target of
   * an earlier version exported all that the device has. The volume has no tail from then on.
   * @throws BackendError
   */
  exportTail(uid: string, signal: AbortSignal): Promise<BackingVolume>;
  /**
   * Takes the mark of a copy off a volume, whose data is whole now. Answers when that is on stable storage.
   * @throws BackendError
   */
  finishCopy(uid: string, signal: AbortSignal): Promise<void>;
  /** Removes a volume and its data. It is no error when there is none. */
  remove(uid: string, signal: AbortSignal): Promise<void>;
  /**
   * Takes our mark off a volume: it stays with its data, belongs to the administrator, and is no longer one of ours. One that was
   * adopted, or half adopted, gets its old name back.
   * @throws BackendError
   */
  retain(uid: string, signal: AbortSignal): Promise<void>;
  /** What the target opens. */
  path(uid: string): string;
  /** Whether zeros that are written to its volumes may be given back to the pool, as far as is known now. */
  readonly reclaims?: boolean;
  /** Absent where volumes cannot grow. */
  growth?: Growth;
  /** Absent where there are no snapshots. */
  snapshots?: Snapshots;
  /** Absent where nothing can be adopted. */
  adoption?: Adoption;
}

export interface AdoptRequest extends Pick<CreateRequest, 'uid' | 'name'> {
  /** Bytes that it must have. */
  bytes: number;
  /** Name of the logical volume or file. */
  from: string;
}

/** Finds the name of the AoEVolume with a UID; undefined when the cluster has none. */
export type OwnerOf = (uid: string) => Promise<string | undefined>;

/** A capability: what is in the pool already can become a backing volume. */
export interface Adoption {
  /**
   * Makes a logical volume or file of the pool the backing volume of an AoEVolume: it gets another name, and its data is not touched. When
   * that was begun before, it is finished. A refusal leaves it as it was found.
   * @throws BackendError
   */
  adopt(request: AdoptRequest, ownerOf: OwnerOf, signal: AbortSignal): Promise<BackingVolume>;
}

/** A capability: volumes can be made larger. */
export interface Growth {
  /**
   * Makes a volume at least this large, without touching its data; the new part reads as zeros. One that is large enough stays as it is.
   * @throws BackendError
   */
  grow(uid: string, bytes: number, signal: AbortSignal): Promise<BackingVolume>;
}

/** The data of a snapshot, as the backend has it. It is never changed. */
export interface BackingSnapshot {
  /** metadata.uid of the AoESnapshot that it was made for. */
  uid: string;
  /** Name of that AoESnapshot. */
  snapshot: string;
  /** What an administrator would look for. */
  name: string;
  bytes: number;
  /** The instant that it shows, as RFC 3339. */
  createdAt: string;
  /** Its data is not whole yet: {@link CopyOut} makes it so. */
  unfinished?: true;
}

export interface SnapshotRequest {
  uid: string;
  /** Name of the AoESnapshot: kept beside the data, for administrators. */
  name: string;
  /** metadata.uid of the AoEVolume. */
  volumeUID: string;
}

/**
 * Runs a command that makes a snapshot, as short as it can be, while no write to the volume begins.
 * @returns the instant that the snapshot shows
 * @throws when writes may have begun meanwhile, or the command failed: what it made is to be discarded
 */
export type Instant = (make: () => Promise<void>) => Promise<Date>;

/** Runs one task at a time. */
export interface Serial {
  /**
   * Waits for a turn, then runs the task to its end.
   * @throws the signal's reason when it is aborted before the task begins
   */
  turn<R>(task: () => Promise<R>, signal: AbortSignal): Promise<R>;
}

/** A snapshot that is ready to be taken. All calls are made in the turn in which it was prepared. */
export interface PreparedSnapshot {
  /** The snapshot, when it is there already: then nothing else is called. */
  readonly found?: BackingSnapshot;
  /**
   * Runs the command that makes it, as short as it can be, while no write to the volume begins.
   * @throws BackendError
   */
  make(): Promise<void>;
  /**
   * Marks it as whole. Answers when it is on stable storage.
   * @param createdAt the instant that it shows
   * @throws BackendError
   */
  finish(createdAt: Date): Promise<BackingSnapshot>;
  /** Removes what was made, unless it is whole. What cannot be removed now is removed before the next attempt, or with the AoESnapshot. */
  discard(): Promise<void>;
}

/** A capability: a snapshot that was taken becomes whole by copying it. Meanwhile its volume can neither grow nor be removed. */
export interface CopyOut {
  /**
   * Makes source and destination ready.
   * @param maxAgeMs how old what is known of them may be, in milliseconds; 0: they are looked at now
   * @returns what is to be copied; undefined when all of it was, and only {@link finish} is missing
   * @throws BackendError SnapshotLost when the source was damaged: then nothing of the snapshot is left
   */
  open(uid: string, maxAgeMs: number, signal: AbortSignal): Promise<{ source: string; destination: string; bytes: number } | undefined>;
  /**
   * The destination has every byte, on stable storage: the snapshot is whole.
   * @throws BackendError BackingBusy while a program reads the source; SnapshotLost as {@link open}
   */
  finish(uid: string, signal: AbortSignal): Promise<BackingSnapshot>;
}

/**
 * A capability: snapshots of volumes in the same pool, which can be removed in any order. A snapshot counts once its instant is certain:
 * what a crash left half made is not found, and is removed when the snapshot is taken again or removed.
 */
export interface Snapshots {
  /** Why none can be taken here, and what to do; undefined when they can. @throws BackendError */
  problem(): Promise<string | undefined>;
  /** Absent where a snapshot is whole as soon as it is taken. */
  readonly copyOut?: CopyOut;
  /** Absent where it is not known which blocks of a snapshot were written. */
  readonly blocks?: Blocks;
  /** Snapshots that were taken. */
  list(signal: AbortSignal): Promise<BackingSnapshot[]>;
  /** @returns undefined when there is no such snapshot, or only half of one */
  find(uid: string, signal: AbortSignal): Promise<BackingSnapshot | undefined>;
  /**
   * Takes a snapshot when there is none, and answers when it is on stable storage.
   * @throws BackendError PoolFull when the pool could fill if all blocks were written that the snapshot keeps; others
   */
  take(request: SnapshotRequest, instant: Instant, signal: AbortSignal): Promise<BackingSnapshot>;
  /** Lets one snapshot be taken at a time: the same object for all pools that must not be changed at the same time. */
  readonly serial: Serial;
  /**
   * Checks that snapshots can be taken together. Call it in the turn of {@link serial}, and keep the turn until all of them are finished or
   * discarded.
   * @returns one for each request, in the same order
   * @throws BackendError as {@link take}
   */
  prepare(requests: readonly SnapshotRequest[], signal: AbortSignal): Promise<PreparedSnapshot[]>;
  /**
   * Makes a volume with the data of a snapshot, when there is none. What is behind the end of the snapshot reads as zeros.
   * {@link Backend.open} makes it ready to be exported. Absent where a volume cannot share blocks with a snapshot: there its data is copied.
   * @returns false when there is no such snapshot, and no volume
   * @throws BackendError
   */
  restore?(request: CreateRequest, snapshotUID: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Makes the data of a snapshot readable on this node, for copies.
   * @returns what to open; undefined when there is no such snapshot
   * @throws BackendError BackingBusy while it is not whole
   */
  expose(uid: string, signal: AbortSignal): Promise<{ path: string; bytes: number } | undefined>;
  /** Ends what {@link expose} began. It is no error when nothing was begun. @throws BackendError when a program still reads it */
  conceal(uid: string, signal: AbortSignal): Promise<void>;
  /** Removes a snapshot, also one that is half made. It is no error when there is none. */
  remove(uid: string, signal: AbortSignal): Promise<void>;
  /** Takes our mark off a snapshot: it belongs to the administrator from then on. */
  retain(uid: string, signal: AbortSignal): Promise<void>;
}

/** Every new backing volume is this much larger than what is exported of it, for what mirrors will have to note beside the data. */
export const TAIL_BYTES = 4 * MiB;

/** All bytes that a backing volume takes. */
export function wholeBytes({ bytes, extended = bytes, tail = 0 }: Pick<BackingVolume, 'bytes' | 'extended' | 'tail'>): number {
  return extended + tail;
}

/** Reasons, as conditions carry them. */
export type BackendReason =
  | 'PoolMissing'
  | 'PoolNotReady'
  | 'PoolFull'
  | 'BackingBusy'
  | 'BackendFailed'
  | 'SnapshotsUnsupported'
  | 'SnapshotLost'
  /** An adoption is refused: there is nothing of that name, it is in use, an AoEVolume has it, it is no volume, or has another size. */
  | 'NothingToAdopt'
  | 'AdoptionInUse'
  | 'AdoptionOfOther'
  | 'NotAdoptable'
  | 'AdoptionSize';

/** A backend could not do what it was asked for. The message names the place of the pool and says what to do. */
export class BackendError extends Error {
  readonly reason: BackendReason;

  constructor(reason: BackendReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BackendError';
    this.reason = reason;
  }
}

/** What a thing in a backend that carries our mark is for. A `volume` is an AoEVolume's; only of these there can be orphans. */
export type Kind = 'volume' | 'snapshot';

/** The kind of a thing, by what follows our prefix in its name: a volume's UID, or `snap-` and a snapshot's UID. */
export function kindOf(id: string): Kind {
  return id.startsWith('snap-') ? 'snapshot' : 'volume';
}

const UID = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/;

/**
 * Checks that a UID can be part of the name of a volume's file or logical volume.
 * @throws RangeError
 */
export function checkUid(uid: string): string {
  if (!UID.test(uid) || uid.includes('..') || kindOf(uid) !== 'volume')
    throw new RangeError(`"${uid}" is not a UID that a backing volume can be named by`);
  return uid;
}

/**
 * The part of the name of a snapshot's file or logical volume behind our prefix.
 * @throws RangeError when the UID cannot be part of such a name
 */
export function snapshotId(uid: string): string {
  return `snap-${checkUid(uid)}`;
}

/** Rounds up to a multiple of `grain`. */
export function roundUp(bytes: number, grain: number): number {
  return Math.ceil(bytes / grain) * grain;
}

/** Rounds down to a multiple of `grain`, never below 0. */
export function roundDown(bytes: number, grain: number): number {
  return Math.max(0, Math.floor(bytes / grain) * grain);
}
