import type { AcquireResult, ConfigReply, IdentifyReply, LockOwner, ReleaseResult, TargetAddress } from '../../aoe/mod.ts';
import type { AoEVolume } from '../../api/volume.ts';

// What the node service needs of the world, as small interfaces: the kernel, the wire, the mount table, the API server.

/** A disk of the kernel's aoe driver. */
export interface Disk {
  /** Such as `/dev/etherd/e7.3`. */
  readonly path: string;
  /** `major:minor`, as mountinfo writes it. */
  readonly device: string;
  readonly bytes: number;
}

/** The kernel's aoe driver. Addresses are spelled as it does: `e7.3`. */
export interface Driver {
  /** Loads the module and tells it which interfaces to use. */
  prepare(interfaceNames: readonly string[], signal: AbortSignal): Promise<void>;
  /** Asks the segment for the disk and waits until it is up, with `bytes` of size when given. Undefined when it does not come in time. */
  attach(address: string, options: { timeoutMs: number; bytes?: number | undefined; signal: AbortSignal }): Promise<Disk | undefined>;
  /** The serial number that the kernel has read from the disk. */
  serial(address: string, signal: AbortSignal): Promise<string>;
  /** The driver's word for the disk's state, such as `up`; undefined when there is no such disk. */
  state(address: string): Promise<string | undefined>;
  disk(address: string): Promise<Disk | undefined>;
  /** True while a mount, in whatever namespace, or another exclusive user has the disk. */
  busy(address: string, signal: AbortSignal): Promise<boolean>;
  /** Removes exactly this disk from the kernel. */
  flush(address: string, signal: AbortSignal): Promise<void>;
}

/** A line of /proc/self/mountinfo. */
export interface MountPoint {
  readonly device: string;
  /** Path within the file system that is mounted: `/` unless it is a bind mount of a part. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

export interface Mounter {
  list(): Promise<MountPoint[]>;
  mount(source: string, target: string, options: { type?: string; options: readonly string[]; signal: AbortSignal }): Promise<void>;
  /** @throws RpcError when it stays mounted; "busy" is not success */
  unmount(target: string, options: { lazy?: boolean; signal: AbortSignal }): Promise<void>;
}

/** What lies at the start of a disk. */
export type Content =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'found'; readonly type: string }
  /** Several signatures, or something that blkid cannot make sense of. */
  | { readonly kind: 'ambivalent'; readonly detail: string };

export interface Filesystems {
  probe(path: string, signal: AbortSignal): Promise<Content>;
  /** True when the first and the last MiB hold only zeros. */
  blank(disk: Disk, signal: AbortSignal): Promise<boolean>;
  format(path: string, type: string, signal: AbortSignal): Promise<void>;
  /** Repairs what can be repaired safely, before a mount that may write. */
  check(path: string, type: string, signal: AbortSignal): Promise<void>;
}

/** The targets, as seen on the wire through all AoE interfaces. */
export interface Wire {
  survey(address: TargetAddress, signal: AbortSignal): Promise<{ configs: ConfigReply[]; identities: IdentifyReply[] }>;
  /** The config string of each target that answers; none when nobody does in time. */
  strings(address: TargetAddress, signal: AbortSignal): Promise<ConfigReply[]>;
  acquire(address: TargetAddress, owner: LockOwner, since: string, signal: AbortSignal): Promise<AcquireResult>;
  release(address: TargetAddress, owner: LockOwner, signal: AbortSignal): Promise<ReleaseResult>;
}

/** The AoEVolume resources, as far as the node service reads and writes them. */
export interface Volumes {
  get(name: string, signal: AbortSignal): Promise<AoEVolume | undefined>;
  /**
   * Sets fields of the status; `null` removes one. Fails when the volume is another by now, or is not as it must `still` be: that is
   * asked when others have written to it since it was read.
   */
  record(
    volume: AoEVolume,
    status: { filesystem?: NonNullable<AoEVolume['status']>['filesystem']; serial?: string; holder?: object | null },
    signal: AbortSignal,
    still?: (now: AoEVolume) => boolean,
  ): Promise<void>;
}
