/** What the agent needs of the target process: rpc/proto/target.proto with plain numbers and no absent parts. */
export interface TargetInterface {
  name: string;
  /** Empty while the interface is missing. */
  mac: string;
  mtu: number;
  serving: boolean;
  error: string;
}

export interface TargetVolume {
  uid: string;
  shelf: number;
  slot: number;
  path: string;
  serial: string;
  readOnly: boolean;
  /** Who may read and write. */
  macs: string[];
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
}

/** Every call is idempotent, has a limit of its own, and rejects with a TargetError. */
export interface TargetApi {
  getInfo(signal: AbortSignal): Promise<TargetInfo>;
  setInterfaces(names: string[], signal: AbortSignal): Promise<TargetInterface[]>;
  export(volume: TargetVolume, signal: AbortSignal): Promise<TargetVolumeState>;
  unexport(uid: string, signal: AbortSignal): Promise<void>;
  setAccess(uid: string, macs: string[], signal: AbortSignal): Promise<TargetVolumeState>;
  replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array, signal: AbortSignal): Promise<TargetVolumeState>;
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
