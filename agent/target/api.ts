import type { LimitNumbers } from '../../api/limits/limits.ts';

/** An interface of the target process. Types here are those of rpc/proto/target.proto, with plain numbers and no absent parts. */
export interface TargetInterface {
  name: string;
  /** Empty while the interface is missing. */
  mac: string;
  mtu: number;
  serving: boolean;
  error: string;
}

/** The initiators that may read and write. */
export interface TargetAccess {
  macs: string[];
  /** The target takes writes only while the config string is set. Ignored by a target without the feature `writes_need_lock`. */
  writesNeedLock: boolean;
}

export interface TargetVolume extends TargetAccess {
  uid: string;
  shelf: number;
  slot: number;
  path: string;
  serial: string;
  readOnly: boolean;
  /**
   * Size that hosts are to see. 0: that of the device, or the present size of a volume that is exported already. Ignored by a target
   * without the feature `exported_size`.
   */
  bytes: number;
  /** Only programs that copy it can read it, and no kernel makes a disk of it: see `for_copies` in rpc/proto/target.proto. */
  forCopies?: true;
  /** Absent: as they are. Ignored by a target without the feature `limits`. */
  limits?: LimitNumbers;
  /** Zeros that are written take no space, where the disk can do that. Ignored by a target without the feature `reclaim`. */
  reclaim?: true;
}

export interface TargetVolumeState {
  volume: TargetVolume;
  /** Size that hosts see now; 0 while the volume is not served. */
  bytes: number;
  configString: Uint8Array;
  /** Why the volume is not served now; empty when it is. */
  error: string;
}

export type TargetEvent =
  | { type: 'changed'; state: TargetVolumeState }
  | { type: 'removed'; uid: string }
  | { type: 'synced' }
  | { type: 'interface'; interface: TargetInterface };

/**
 * What a target can do beyond its first version. `exported_size`: the size of a volume is part of its definition. `hold`: it can hold
 * back the writes to a volume for a moment. `for_copies`: it can export a disk only to programs that copy it. `limits`: it enforces limits
 * of volumes. `reclaim`: zeros that are written can take no space. `heard`: it knows when it last heard each host.
 */
export type TargetFeature = 'writes_need_lock' | 'exported_size' | 'hold' | 'for_copies' | 'limits' | 'reclaim' | 'heard';

export interface TargetInfo {
  version: string;
  interfaces: TargetInterface[];
  /** Each {@link TargetFeature} that it has, and those that only later agents know. */
  features: string[];
}

/** Requests of one kind that the target has answered. */
export interface TargetRequests {
  /** Answered with an error because the disk failed. */
  errors: number;
  bytes: number;
  /** Sum of the times that they took. */
  seconds: number;
  /** Number of requests in each bucket of `TargetStats.latencyBounds`, and last those that took longer than all of them. */
  latency: number[];
}

export type RequestKind = 'read' | 'write' | 'flush';

export interface TargetInitiatorStats {
  /** Empty for all initiators beyond those that the target counts one by one. */
  mac: string;
  requests: Partial<Record<RequestKind, TargetRequests>>;
  /** Requests that were repeated while the same one was under way. */
  repeats: number;
  /** Requests left unanswered because too many were under way. */
  dropped: number;
  /** Seconds in which an answer was kept back because of the volume's limits. */
  throttled: number;
}

/** Refused frames by reason. */
export type RefusedFrames = Record<string, number>;

export interface TargetVolumeStats {
  uid: string;
  initiators: TargetInitiatorStats[];
  refused: RefusedFrames;
  /** Bytes that were overwritten with zeros and given back. */
  reclaimed: number;
}

/** Frames of an interface. */
export interface TargetInterfaceStats {
  name: string;
  received: number;
  sent: number;
  /** By the kernel: the receive ring was full. */
  ringDropped: number;
  /** Received, but lost for want of memory. */
  receiveLost: number;
  /** The kernel refused to send them. */
  sendFailed: number;
  /** Answers dropped because there was no room for them, or no interface. */
  answersDropped: number;
}

/** Counters since the target process began; those of a volume since it was exported. */
export interface TargetStats {
  /** Seconds, ascending. */
  latencyBounds: number[];
  volumes: TargetVolumeStats[];
  interfaces: TargetInterfaceStats[];
  /** Refused frames of no volume. */
  refused: RefusedFrames;
}

/** For how long hosts were silent, in milliseconds; never more than the true time. */
export interface TargetSilences {
  /** For how long the target has listened without a break. A host that it does not name was silent for this long. */
  listeningMs: number;
  /** By MAC address, in lower case. */
  silentMs: Map<string, number>;
}

/** Every call is idempotent, has a limit of its own, and rejects with a TargetError. */
export interface TargetApi {
  getInfo(signal: AbortSignal): Promise<TargetInfo>;
  setInterfaces(names: string[], signal: AbortSignal): Promise<TargetInterface[]>;
  export(volume: TargetVolume, signal: AbortSignal): Promise<TargetVolumeState>;
  unexport(uid: string, signal: AbortSignal): Promise<void>;
  setAccess(uid: string, access: TargetAccess, signal: AbortSignal): Promise<TargetVolumeState>;
  replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array, signal: AbortSignal): Promise<TargetVolumeState>;
  /**
   * Holds a volume still: no write to it begins until the hold ends, by release or by itself after `limitMs`. Needs the feature `hold`.
   * @returns the number of the hold, once no write is under way
   */
  hold(uid: string, limitMs: number, signal: AbortSignal): Promise<number>;
  /** Ends a hold. @returns whether it lasted until now, without a break */
  release(uid: string, hold: number, signal: AbortSignal): Promise<boolean>;
  /** Has a short limit, within that of a scrape. */
  getStats(signal: AbortSignal): Promise<TargetStats>;
  /** Needs the feature `heard`. */
  getHeard(signal: AbortSignal): Promise<TargetSilences>;
  /** Every volume, `synced`, then changes, until the signal aborts or the target goes away (then it throws). */
  watch(signal: AbortSignal): AsyncIterable<TargetEvent>;
}

/**
 * `unavailable`: the process does not answer. `waits`: it does, and makes the change once a disk answers, also when nobody waits for it any
 * more. The others: it refused.
 */
export type TargetReason = 'unavailable' | 'waits' | 'not-found' | 'conflict' | 'invalid' | 'precondition' | 'failed';

export class TargetError extends Error {
  readonly reason: TargetReason;

  constructor(reason: TargetReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'TargetError';
    this.reason = reason;
  }
}
