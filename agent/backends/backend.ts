/** A backing volume that carries our mark, as it lies in the backend. */
export interface BackingVolume {
  /** metadata.uid of the AoEVolume it was made for. */
  uid: string;
  /** Name of that AoEVolume, when the backend keeps it. */
  volume?: string | undefined;
  /** What an administrator would look for: `vg0/aoe-…` or a file's path. */
  name: string;
  bytes: number;
}

/** What a pool can do on this node. Sizes in bytes. */
export interface Measurement {
  ready: boolean;
  /** Why it is not ready, or what to watch, and what to do. */
  message?: string | undefined;
  /** What our volumes may take in all. Never promises more than there is: thin and sparse volumes count whole. */
  size: number;
  /** What of `size` is not promised to a volume that exists. */
  free: number;
  /** Volumes are rounded up to a multiple of this. */
  granularity: number;
  dataPercent?: string | undefined;
  metadataPercent?: string | undefined;
  /** Every volume of this pool that is ours. */
  volumes: BackingVolume[];
}

export interface CreateRequest {
  uid: string;
  /** Name of the AoEVolume: kept beside the data, for people. */
  name: string;
  bytes: number;
}

/**
 * Where backing volumes live. A volume is named by its AoEVolume's UID, looked for before it is made, and found again
 * after a crash at any point. Calls for different volumes may overlap; calls for one volume must not.
 */
export interface Backend {
  /** Every volume of this pool that is ours, read anew. */
  list(signal: AbortSignal): Promise<BackingVolume[]>;
  /** Size and state, read anew. A missing volume group or directory is a measurement that is not ready, not an error. */
  measure(signal: AbortSignal): Promise<Measurement>;
  /**
   * Makes a volume that was served before ready to be served again: activates what is inactive. Its data is never touched.
   * @returns undefined when there is no such volume: it is never made here
   * @throws BackendError
   */
  open(uid: string, signal: AbortSignal): Promise<BackingVolume | undefined>;
  /**
   * Makes the volume when there is none, and finishes what a crash left half made. It holds nothing of another volume when this returns, as far
   * as the backend says it can promise that.
   * @throws BackendError
   */
  create(request: CreateRequest, signal: AbortSignal): Promise<BackingVolume>;
  /** Removes a volume and its data. Nothing to remove is success. */
  remove(uid: string, signal: AbortSignal): Promise<void>;
  /** Takes our mark off a volume: it stays with its data, belongs to the administrator, and counts as foreign. */
  retain(uid: string, signal: AbortSignal): Promise<void>;
  /** What the target opens. */
  path(uid: string): string;
}

/** Reasons, as conditions carry them. */
export type BackendReason = 'PoolMissing' | 'PoolNotReady' | 'PoolFull' | 'BackingBusy' | 'BackendFailed';

/** A backend could not do it. The message names the pool's place and says what to do. */
export class BackendError extends Error {
  readonly reason: BackendReason;

  constructor(reason: BackendReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BackendError';
    this.reason = reason;
  }
}

const UID = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/;

/**
 * Checks that a UID can be part of a file's or logical volume's name.
 * @throws RangeError
 */
export function checkUid(uid: string): string {
  if (!UID.test(uid) || uid.includes('..')) throw new RangeError(`"${uid}" is not a UID that a backing volume can be named by`);
  return uid;
}

/** Rounds up to a multiple of `grain`. */
export function roundUp(bytes: number, grain: number): number {
  return Math.ceil(bytes / grain) * grain;
}

/** Rounds down to a multiple of `grain`, never below 0. */
export function roundDown(bytes: number, grain: number): number {
  return Math.max(0, Math.floor(bytes / grain) * grain);
}
