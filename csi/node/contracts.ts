import type { AcquireResult, ConfigReply, IdentifyReply, LockOwner, ReleaseResult, TargetAddress } from '../../aoe/mod.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Passphrase } from './encryption/passphrase.ts';

// What the node service needs from outside: the kernel, the wire, the mount table, the API server. Tests replace these interfaces.

/** A block device, such as a disk of the kernel's aoe driver. */
export interface Disk {
  /** Such as `/dev/etherd/e7.3`. */
  readonly path: string;
  /** `major:minor` in decimal, as mountinfo writes it. */
  readonly device: string;
  readonly bytes: number;
}

/**
 * State of a disk in the aoe driver (drivers/block/aoe/aoeblk.c, aoedisk_show_state). `down`: the target has not answered for
 * `aoe_deadsecs`. `closewait`: down, and somebody still has it open.
 */
export type DiskState = 'up' | 'down' | 'closewait' | 'absent';

/** The kernel's aoe driver. Addresses are written as the driver writes them: `e7.3`. */
export interface Driver {
  /** Loads the module and sets the interfaces that it uses. */
  prepare(interfaceNames: readonly string[], signal: AbortSignal): Promise<void>;
  /**
   * Waits until the disk is up and, when `bytes` is given, has that size. Starts a discovery when that is not so at once.
   * @returns undefined when that does not happen within `timeoutMs`
   */
  attach(address: string, options: { timeoutMs: number; bytes?: number | undefined; signal: AbortSignal }): Promise<Disk | undefined>;
  /**
   * Lets the kernel read the size of a disk that is in use again, until it is at least this large.
   * @returns undefined when that does not happen within `timeoutMs`
   */
  grow(address: string, options: { timeoutMs: number; bytes: number; signal: AbortSignal }): Promise<Disk | undefined>;
  /** The serial number that the kernel has read from the disk. */
  serial(address: string, signal: AbortSignal): Promise<string>;
  state(address: string): Promise<DiskState>;
  disk(address: string): Promise<Disk | undefined>;
  /** Addresses of all disks that the kernel has, ours and others. */
  disks(): Promise<string[]>;
  /** When the kernel made the disk, as Date.now() counts; undefined when that is not known. */
  madeAt(address: string): Promise<number | undefined>;
  /** Forgets what the kernel has cached of the disk's data (ioctl BLKFLSBUF, block/ioctl.c): it is read from the target again. */
  dropCache(address: string, signal: AbortSignal): Promise<void>;
  /** Whether an exclusive user has the disk: a mount in any namespace, swap, device-mapper. Programs that have it merely open do not count. */
  isClaimed(address: string, signal: AbortSignal): Promise<boolean>;
  /** Device numbers, as in {@link Disk.device}, of the disk, its partitions, and all that is stacked on them, such as dm-crypt or md. */
  stack(address: string): Promise<string[]>;
  /** Who has the disk open, one phrase each, such as `process 77 (qemu)` or `/dev/loop0`. */
  openers(address: string, signal: AbortSignal): Promise<string[]>;
  /**
   * Removes exactly this disk from the kernel. While somebody has it open the kernel frees memory that is still in use
   * (drivers/block/aoe/aoedev.c, flush()): call it through LocalDisk.remove() only.
   */
  flush(address: string, signal: AbortSignal): Promise<void>;
}

/** An open LUKS header: a block device of dm-crypt, which shows a disk in plain text. */
export interface Mapping extends Disk {
  /** As in /dev/mapper/NAME. */
  readonly name: string;
  /** The kernel's own name for it, such as `dm-0`. */
  readonly node: string;
  /** The kernel's name of the device of dm-integrity between disk and mapping; absent without authentication. */
  readonly tags?: string;
}

/** LUKS2 headers on disks, and what is mapped of those disks. A disk is given by its path, or by its address: `e7.3`. */
export interface Encryption {
  /** @throws RpcError UNAVAILABLE when the kernel cannot encrypt in this way */
  prepare(options: { authenticated: boolean }, signal: AbortSignal): Promise<void>;
  /** The mappings that are open on a disk. More than one: something went wrong. */
  mappings(address: string): Promise<Mapping[]>;
  /** Whether an exclusive user has the mapping, in any mount namespace. */
  isClaimed(mapping: Mapping): Promise<boolean>;
  /** The UUID in the header of a disk. */
  uuid(path: string, signal: AbortSignal): Promise<string>;
  /** Writes a header: whatever was on the disk is lost. With authentication nothing can be read through the mapping before it was written. */
  format(path: string, options: { uuid: string; passphrase: Passphrase; authenticated: boolean }, signal: AbortSignal): Promise<void>;
  /** @throws RpcError UNAUTHENTICATED for a wrong passphrase */
  open(path: string, options: { name: string; passphrase: Passphrase; readOnly: boolean }, signal: AbortSignal): Promise<Mapping>;
  /** Writes zeros through the mapping over its first and its last MiB, so that it is as blank as a new disk. */
  zeroEnds(mapping: Mapping, signal: AbortSignal): Promise<void>;
  /** Writes zeros through the mapping, durably: `length` bytes from `start`, in bytes. Waits for its turn: two disks of a node are written at a time. */
  zero(mapping: Mapping, part: { start: number; length: number }, signal: AbortSignal): Promise<void>;
  /** Makes a mapping as large as its disk allows, while it is in use. */
  grow(mapping: Mapping, signal: AbortSignal): Promise<Mapping>;
  /** Closes what this project has open on a disk, also what is left of a program that was killed. @throws RpcError INTERNAL while it is in use */
  closeAll(address: string, signal: AbortSignal): Promise<void>;
}

/** A line of /proc/self/mountinfo. */
export interface MountPoint {
  /** Number of the mount, as in /proc/PID/fdinfo. */
  readonly id: string;
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
  /** Unmounts the topmost mount at a path. @throws RpcError INTERNAL when it stays mounted, for example because it is busy */
  unmount(target: string, options: { lazy?: boolean; signal: AbortSignal }): Promise<void>;
}

/** What was found at the start of a disk. */
export type Content =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'found'; readonly type: string }
  /** Several signatures, or something that blkid cannot interpret. */
  | { readonly kind: 'ambivalent'; readonly detail: string };

/** What a file system holds: sizes in bytes, and numbers of inodes. */
export interface FilesystemUsage {
  readonly bytes: { readonly total: number; readonly used: number; readonly available: number };
  readonly inodes: { readonly total: number; readonly used: number; readonly available: number };
}

export interface Filesystems {
  probe(path: string, signal: AbortSignal): Promise<Content>;
  /** True when the first and the last MiB hold only zeros. */
  isBlank(disk: Disk, signal: AbortSignal): Promise<boolean>;
  format(disk: Disk, type: string, signal: AbortSignal): Promise<void>;
  /** Repairs what can be repaired safely. Call it before a mount that may write. */
  check(path: string, type: string, signal: AbortSignal): Promise<void>;
  /** Size in bytes of the file system on a disk; undefined when the disk has none of this type. */
  size(path: string, type: string, signal: AbortSignal): Promise<number | undefined>;
  /** Makes the file system on a device, which is mounted at a path, as large as the device. */
  grow(filesystem: { device: string; path: string; type: string }, signal: AbortSignal): Promise<void>;
  /** Usage of the file system that is mounted at a path. */
  usage(path: string, signal: AbortSignal): Promise<FilesystemUsage>;
}

/** The targets, as they answer on the AoE interfaces. */
export interface Wire {
  survey(address: TargetAddress, signal: AbortSignal): Promise<{ configs: ConfigReply[]; identities: IdentifyReply[] }>;
  /** The config string of each target that answers; empty when none does in time. */
  configs(address: TargetAddress, signal: AbortSignal): Promise<ConfigReply[]>;
  acquire(address: TargetAddress, owner: LockOwner, since: string, signal: AbortSignal): Promise<AcquireResult>;
  release(address: TargetAddress, owner: LockOwner, signal: AbortSignal): Promise<ReleaseResult>;
}

/** The AoEVolumes at the API server, as far as the node service reads and writes them. */
export interface VolumeClient {
  get(name: string, signal: AbortSignal): Promise<AoEVolume | undefined>;
  /**
   * Sets fields of the status; `null` removes one.
   * @param isStillValid asked when others have written to the volume since it was read; false makes the write fail
   * @throws RpcError ABORTED when the volume was deleted, or replaced by another of the same name, or is not valid any more
   */
  record(
    volume: AoEVolume,
    status: {
      filesystem?: NonNullable<AoEVolume['status']>['filesystem'];
      luks?: Omit<NonNullable<NonNullable<AoEVolume['status']>['luks']>, 'zeroed'> & { zeroed?: string | null };
      serial?: string;
      holder?: object | null;
      reclaim?: NonNullable<AoEVolume['status']>['reclaim'];
    },
    signal: AbortSignal,
    isStillValid?: (now: AoEVolume) => boolean,
  ): Promise<void>;
}
