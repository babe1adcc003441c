/** What a copy reads from. Nothing else may write to it meanwhile. */
export type CopySource =
  /** A block device or file of this node. */
  | { kind: 'local'; path: string }
  /** A disk on the segment. One with another serial number or size is never read. */
  | { kind: 'aoe'; shelf: number; slot: number; serial: string; interfaces: string[] };

/** A copy that the copier is to make. Types here are those of rpc/proto/copier.proto, with plain numbers and no absent parts. */
export interface CopyJob {
  /** Identifies the job for ever. */
  id: string;
  /** Name of the AoEVolume or AoESnapshot that is made, for messages. */
  volume: string;
  source: CopySource;
  destination: {
    path: string;
    /** It reads as zeros wherever no job with this source has written. */
    zeroed: boolean;
  };
  /** To copy, from the beginning on. */
  bytes: number;
  /** 0: no limit. */
  bytesPerSecond: number;
}

/** `verified`: every byte of the destination was compared with the source, and is on stable storage. */
export type CopyPhase = 'queued' | 'copying' | 'verifying' | 'verified' | 'stopped' | 'failed';

export interface CopyState {
  id: string;
  phase: CopyPhase;
  bytes: number;
  /** As `destination.zeroed` of its job. */
  zeroed: boolean;
  /** Bytes from the beginning on that are on stable storage. */
  copied: number;
  /** Bytes from the beginning on that were compared. */
  verified: number;
  /** Bytes read from the source since the copier began. */
  read: number;
  /** Places that differed when they were compared, and were written again. */
  repaired: number;
  /** Why the job does not get ahead, or failed, for people; empty when all is well. */
  problem: string;
  /** Since when; undefined without a problem. */
  problemSince: Date | undefined;
}

/** Every call is idempotent, has a limit of its own, and rejects with a CopierError. */
export interface CopierApi {
  /** Begins a job, or goes on with one that was stopped or failed; changes the speed of one that runs. */
  start(job: CopyJob, signal: AbortSignal): Promise<CopyState>;
  /** @returns undefined when there is no such job */
  get(id: string, signal: AbortSignal): Promise<CopyState | undefined>;
  list(signal: AbortSignal): Promise<CopyState[]>;
  /** Ends the work on a job, which keeps its progress. */
  stop(id: string, signal: AbortSignal): Promise<CopyState>;
  /** Stops a job and forgets it. What it has written stays. */
  remove(id: string, signal: AbortSignal): Promise<void>;
}

/** What concerns all jobs of a copier. */
export interface CopierLimitApi {
  /** Limits all jobs together to so many bytes per second, until the next call or the end of the copier. 0: no limit. */
  setLimit(bytesPerSecond: number, signal: AbortSignal): Promise<void>;
}

/** `unavailable`: the process does not answer. `hangs`: a disk of the job does, so the job does not end. The others: it refused. */
export type CopierReason = 'unavailable' | 'not-found' | 'conflict' | 'invalid' | 'full' | 'hangs' | 'failed';

export class CopierError extends Error {
  readonly reason: CopierReason;

  constructor(reason: CopierReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CopierError';
    this.reason = reason;
  }
}

/** What went wrong with a call, for people: follows "the copier". */
export function describeFailure({ reason, message }: CopierError): string {
  const doing = reason === 'unavailable' ? 'does not answer' : reason === 'hangs' ? 'waits' : 'refused';
  return `${doing}: ${message}`;
}
