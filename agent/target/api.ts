/** What the agent needs of the target process: rpc/proto/target.proto with plain numbers and no absent parts. */
export interface TargetInterface {
  name: string;
  /** Empty while the interface is missing. */
  mac: string;
  mtu: number;
  serving: boolean;
  error: string;
}

/** Who may read and write. */
export interface TargetAccess {
  macs: string[];
  /** Writes only while the config string is set; a target without the feature of that name does not know it. */
  writesNeedLock: boolean;
}

export interface TargetVolume extends TargetAccess {
  uid: string;
  shelf: number;
  slot: number;
  path: string;
  serial: string;
  readOnly: boolean;
}

export interface TargetVolumeState {
  volume: TargetVolume;
  bytes: number;
  configString: Uint8Array;
  /** Why it is not served now; empty when it is. */
  error: string;
}

export type TargetEvent =
  | { type: 'changed'; state: TargetVolumeState }
  | { type: 'removed'; uid: string }
  | { type: 'synced' }
  | { type: 'interface'; interface: TargetInterface };

export interface TargetInfo {
  version: string;
  interfaces: TargetInterface[];
  /** What it has beyond the first version. */
  features: string[];
}

/** Requests of one kind that the target has answered. */
export interface TargetRequests {
  /** Answered with an error because the disk failed. */
  errors: number;
  bytes: number;
  /** How long they took, all together. */
  seconds: number;
  /** How many took how long: per bucket of `TargetStats.latencyBounds`, and those that took longer. */
  latency: number[];
}

export type RequestKind = 'read' | 'write' | 'flush';

export interface TargetInitiatorStats {
  /** Empty: all those together that are too many to tell apart. */
  mac: string;
  requests: Partial<Record<RequestKind, TargetRequests>>;
  /** Requests that came again while the same one was under way. */
  repeats: number;
  /** Requests left unanswered because too many were under way. */
  dropped: number;
}

/** Refused frames by reason. */
export type RefusedFrames = Record<string, number>;

export interface TargetVolumeStats {
  uid: string;
  initiators: TargetInitiatorStats[];
  refused: RefusedFrames;
}

/** Frames of an interface. */
export interface TargetInterfaceStats {
  name: string;
  received: number;
  sent: number;
  /** By the kernel: the receive ring was full. */
  ringDropped: number;
  /** They came, but could not be kept. */
  receiveLost: number;
  /** The kernel refused to send them. */
  sendFailed: number;
  /** Answers for which there was no room, or no interface. */
  answersDropped: number;
}

/** What was counted since the target began, for a volume since it was exported. */
export interface TargetStats {
  /** Seconds, ascending. */
  latencyBounds: number[];
  volumes: TargetVolumeStats[];
  interfaces: TargetInterfaceStats[];
  /** Frames that are of no volume. */
  refused: RefusedFrames;
}

/** Every call is idempotent, has a limit of its own, and rejects with a TargetError. */
export interface TargetApi {
  getInfo(signal: AbortSignal): Promise<TargetInfo>;
  setInterfaces(names: string[], signal: AbortSignal): Promise<TargetInterface[]>;
  export(volume: TargetVolume, signal: AbortSignal): Promise<TargetVolumeState>;
  unexport(uid: string, signal: AbortSignal): Promise<void>;
  setAccess(uid: string, access: TargetAccess, signal: AbortSignal): Promise<TargetVolumeState>;
  replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array, signal: AbortSignal): Promise<TargetVolumeState>;
  /** Answers in a short time or not at all: within that of a scrape. */
  getStats(signal: AbortSignal): Promise<TargetStats>;
  /** Every volume, `synced`, then changes, until the signal aborts or the target goes away (then it throws). */
  watch(signal: AbortSignal): AsyncIterable<TargetEvent>;
}

/** `unavailable`: the process does not answer. The others: it refused. */
export type TargetReason = 'unavailable' | 'not-found' | 'conflict' | 'invalid' | 'precondition' | 'failed';

export class TargetError extends Error {
  readonly reason: TargetReason;

  constructor(reason: TargetReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'TargetError';
    this.reason = reason;
  }
}
