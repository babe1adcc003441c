import { setTimeout as delay } from 'node:timers/promises';
import { addressOfMapping } from '../../../api/address.ts';
import { type Log, messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Disk, DiskState, Driver, Encryption, Mapping, Mounter, MountPoint } from '../contracts.ts';
import { guard, isPublishPath } from './guard.ts';
import { checkSerial, type Surveyed } from './identity.ts';
import { DriverBusyError } from './kernel-driver.ts';
import { unmountLayers } from './unmount-layers.ts';

/** Time for the kernel's driver to find a disk that answers on the wire. */
const ATTACH_MS = 10_000;
/** Time for the kernel's driver to take a new size. */
const GROW_MS = 20_000;
/** How long others may still close the disk: udev opens it for a moment after each unmount. */
const SETTLE_MS = 5_000;
const POLL_MS = 200;
/**
 * Age up to which the kernel's disk counts as new. A target announces a volume when it admits this node, and the kernel makes the disk then:
 * seconds before the kubelet stages the volume, or minutes when many wait.
 */
const NEW_MS = 300_000;

/** A mount of the disk, or of its mapping: of the file system on it, or of its device node (a raw block volume). */
export interface DiskMount extends MountPoint {
  readonly kind: 'filesystem' | 'node';
  /** It is a mount of a disk that had this address before and is gone. */
  readonly isStale: boolean;
}

/** By what mounts of a disk are recognized. */
interface Known {
  /** Device numbers of the disk and of all that is stacked on it. */
  readonly devices: ReadonlySet<string>;
  /** Device nodes of the disk and its mapping, as paths within /dev. */
  readonly nodes: ReadonlySet<string>;
}

/** The disk cannot be removed from the kernel, because somebody has it open. */
export class DiskInUseError extends Error {
  readonly users: readonly string[];

  constructor(address: string, users: readonly string[]) {
    super(`disk ${address} is still in use on this node, by ${users.join(', ')}; it is removed when that has ended`);
    this.name = 'DiskInUseError';
    this.users = users;
  }
}

export interface LocalDiskParts {
  readonly driver: Omit<Driver, 'prepare'>;
  readonly encryption: Pick<Encryption, 'mappings' | 'isClaimed' | 'closeAll'>;
  readonly mounter: Mounter;
  readonly log: Log;
  /** Ends what this program itself does in file systems on a disk, and keeps it from beginning again for a while. */
  readonly endOwnUse?: (address: string) => Promise<void>;
  /** How long to wait for others to close the disk, in milliseconds. Default 5000. */
  readonly settleMs?: number;
}

/**
 * The disk at an AoE address on this node: what is mounted of it, who uses it, how it comes and goes. The mapping of an encrypted volume
 * (dm-crypt) is a part of it: mounts of the mapping are mounts of the disk, and the mapping goes with the disk.
 */
export class LocalDisk {
  readonly address: string;
  readonly #parts: LocalDiskParts;

  constructor(parts: LocalDiskParts, address: string) {
    this.#parts = parts;
    this.address = address;
  }

  /** The AoE disk; undefined when there is none. */
  device(): Promise<Disk | undefined> {
    return this.#parts.driver.disk(this.address);
  }

  /** What is open of an encrypted volume on the disk; undefined when nothing is. */
  async mapping(): Promise<Mapping | undefined> {
    return (await this.#parts.encryption.mappings(this.address))[0];
  }

  health(): Promise<DiskState> {
    return this.#parts.driver.state(this.address);
  }

  /** Whether the kernel has given up the disk: a file system that is mounted from it has lost writes, and stays broken when the disk comes back. */
  async isDown(): Promise<boolean> {
    const health = await this.health();
    return health === 'down' || health === 'closewait';
  }

  /** All mounts of the disk that this process sees, the oldest first. */
  async mounts(): Promise<DiskMount[]> {
    const known = await this.#known();
    return (await this.#parts.mounter.list()).flatMap((mount) => this.#own(mount, known) ?? []);
  }

  /** The mounts of the disk that is here now. Those of an earlier disk at the address are left out. */
  async liveMounts(): Promise<DiskMount[]> {
    return (await this.mounts()).filter(({ isStale }) => !isStale);
  }

  /** The mount at a path of the file system on the disk; undefined when it is not mounted there. */
  async filesystemAt(path: string): Promise<DiskMount | undefined> {
    return (await this.liveMounts()).find(({ kind, target }) => kind === 'filesystem' && target === path);
  }

  async #known(): Promise<Known> {
    const { driver, encryption } = this.#parts;
    const [devices, mappings] = await Promise.all([driver.stack(this.address), encryption.mappings(this.address)]);
    // Where udev runs, /dev/mapper/NAME is a link to the kernel's own node.
    const nodes = mappings.flatMap(({ name, node }) => [`/mapper/${name}`, `/${node}`]);
    return { devices: new Set(devices), nodes: new Set([`/etherd/${this.address}`, ...nodes]) };
  }

  /** What a mount is to this disk; undefined when it is not a mount of it. */
  #own(mount: MountPoint, { devices, nodes }: Known): DiskMount | undefined {
    if (nodes.has(mount.root)) return { ...mount, kind: 'node', isStale: false };
    if (devices.has(mount.device)) return { ...mount, kind: 'filesystem', isStale: false };
    // How the kernel shows the node of a device that was removed (fs/d_path.c, dentry_path).
    const [, removed] = /^(\/(?:etherd|mapper)\/.*)\/\/deleted$/.exec(mount.root) ?? [];
    if (removed !== undefined && addressIn(`/dev${removed}`) === this.address) return { ...mount, kind: 'node', isStale: true };
    if (addressIn(mount.source) === this.address) return { ...mount, kind: 'filesystem', isStale: true };
    return undefined;
  }

  /** Ends what this program itself does in the file system. Call it before an unmount: {@link unmountAll} does. Never rejects. */
  async endOwnUse(): Promise<void> {
    await this.#parts.endOwnUse?.(this.address);
  }

  /** Whether an exclusive user has what is mounted of the disk, in any mount namespace: it can be neither checked nor formatted then. */
  async isClaimed(signal: AbortSignal): Promise<boolean> {
    const { driver, encryption } = this.#parts;
    const mapping = await this.mapping();
    return mapping ? encryption.isClaimed(mapping) : driver.isClaimed(this.address, signal);
  }

  /** Who has the disk open, after those had time to close it that do so for a moment only. A phrase for each, for people. */
  users(signal: AbortSignal): Promise<string[]> {
    return this.#users(signal);
  }

  /** @param besides a mapping that does not count as a user of the disk itself */
  async #users(signal: AbortSignal, besides?: Mapping): Promise<string[]> {
    for (const end = performance.now() + (this.#parts.settleMs ?? SETTLE_MS); ; ) {
      const users = await this.#usersNow(signal, besides);
      const left = end - performance.now();
      if (users.length === 0 || left <= 0) return users;
      await delay(Math.min(POLL_MS, left), undefined, { signal });
    }
  }

  async #usersNow(signal: AbortSignal, besides?: Mapping): Promise<string[]> {
    const { driver, encryption } = this.#parts;
    const state = await driver.state(this.address);
    if (state === 'absent') return [];
    const users = (await driver.openers(this.address, signal)).filter(
      (each) => !besides || ![besides.node, besides.tags].some((node) => each.startsWith(`/dev/${node} `)),
    );
    if (users.length > 0) return users;
    if (besides) return (await encryption.isClaimed(besides)) ? [`a mount of ${besides.path} that could not be found`] : [];
    // The kernel knows better than a search: by its count of opens when the disk is down, by an exclusive open when it is up.
    if (state === 'closewait') return ['a program that could not be found (the kernel counts the disk as open)'];
    if (state === 'up' && (await driver.isClaimed(this.address, signal)))
      return ['a mount, or a device stacked on it, that could not be found'];
    return [];
  }

  /**
   * Unmounts what lies at a path and is not a mount of the present disk: what is left from a disk that had the address before.
   * @returns the mount of the present disk there
   * @throws RpcError INTERNAL when a mount cannot be removed
   */
  async clearStale(path: string, signal: AbortSignal): Promise<MountPoint | undefined> {
    const { driver, mounter, log } = this.#parts;
    const devices = new Set(await driver.stack(this.address));
    return unmountLayers(mounter, path, {
      keep: ({ device }) => devices.has(device),
      isLazy: async (mount) => {
        const lazy = await isDiskGoneOrDown(driver, mount);
        log.warn({ target: path, source: mount.source, device: mount.device, lazy }, 'removing a stale mount');
        return lazy;
      },
      signal,
    });
  }

  /**
   * Detaches mounts lazily. What a program still has open there fails from now on, or must be closed before the disk can be removed.
   * Mounts of the device node stay while somebody has the disk open: by their paths the kubelet finds the loop devices that it has to
   * remove (pkg/volume/util/volumepathhandler in Kubernetes), and without them the loop devices would keep the disk for ever.
   * At the paths that the kubelet has given to pods the guard stays.
   * @param at a path where the disk is, or was, mounted: whatever is mounted there goes
   * @param onlyThere all other mounts of the address stay, since they are of another volume
   * @returns the paths that were unmounted
   * @throws DiskInUseError when mounts of the device node stay
   */
  async unmountAll({ at, onlyThere = false }: { at: string; onlyThere?: boolean }, signal: AbortSignal): Promise<string[]> {
    const { mounter } = this.#parts;
    await this.endOwnUse();
    const known = await this.#known();
    const mounts = (await mounter.list()).flatMap((each) => {
      const own = this.#own(each, known);
      return each.target === at || (own && !onlyThere) ? [{ target: each.target, isNode: own?.kind === 'node' && !own.isStale }] : [];
    });
    const unmount = async (isNode: boolean): Promise<void> => {
      // The newest first: it lies on top.
      const targets = mounts.filter((each) => each.isNode === isNode).toReversed();
      for (const { target } of targets) {
        await mounter.unmount(target, { lazy: true, signal });
        // An earlier version has published it, without a guard below.
        if (!isNode && isPublishPath(target)) await guard(mounter, target, signal);
      }
    };
    await unmount(false);
    if (mounts.some(({ isNode }) => isNode)) {
      const users = await this.#users(signal, await this.mapping());
      if (users.length > 0) throw new DiskInUseError(this.address, users);
      await unmount(true);
    }
    return mounts.map(({ target }) => target);
  }

  /**
   * Closes the mapping, and removes the disk from the kernel, and with it all that the kernel has cached of it. While the driver waits for other disks, which do
   * not answer, the disk stays: the kernel has written back and forgotten what it had cached of it when the last user closed it
   * (block/bdev.c, blkdev_flush_mapping).
   * @returns whether the disk is gone
   * @throws DiskInUseError while somebody has it open
   */
  async remove(signal: AbortSignal): Promise<boolean> {
    const { encryption, log } = this.#parts;
    // What stays open is among the users below, with those who use it.
    await encryption.closeAll(this.address, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      log.info({ address: this.address, error: messageOf(error) }, 'the mapping of a disk stays open');
    });
    if ((await this.health()) === 'absent') return true;
    const users = await this.users(signal);
    if (users.length > 0) throw new DiskInUseError(this.address, users);
    try {
      await this.#parts.driver.flush(this.address, signal);
      return true;
    } catch (error) {
      if (!(error instanceof DriverBusyError)) throw error;
      log.warn({ address: this.address, error: error.message }, 'a disk that nobody uses stays in the kernel');
      return false;
    }
  }

  /**
   * Whether the kernel has made the disk a moment ago, has the right one, and nobody has mounted it. Such a disk needs not be removed before
   * it is used: all paths that the kernel knows to it are new. Who has it merely open has opened this very
   * disk: while somebody has a disk open that had the address before, the kernel keeps that one, and its serial number
   * (drivers/block/aoe/aoecmd.c, aoecmd_cfg_rsp).
   * @param surveyed serial number and size, as the target reports them
   */
  async isNew({ serial, bytes }: Surveyed, signal: AbortSignal): Promise<boolean> {
    const { driver } = this.#parts;
    if ((await driver.state(this.address)) !== 'up' || (await driver.disk(this.address))?.bytes !== bytes) return false;
    const age = Date.now() - ((await driver.madeAt(this.address)) ?? Number.NEGATIVE_INFINITY);
    // The clock may have been set since.
    if (age < -POLL_MS || age > NEW_MS || (await this.mounts()).length > 0) return false;
    return (await driver.serial(this.address, signal)) === serial && !(await driver.isClaimed(this.address, signal));
  }

  /**
   * Brings the disk into the kernel and makes sure that the kernel has the right one.
   * @param name how messages name the volume
   * @param surveyed serial number and size, as the target reports them
   * @param isNew a disk that the kernel has is used as it is ({@link isNew}), and not removed first
   * @param mustBeFresh refuse a disk that the kernel had before and that is in use: what is cached of it may be stale
   * @throws RpcError UNAVAILABLE when the kernel does not find it; FAILED_PRECONDITION when what it has is in use, and wrong or stale
   */
  async attach(
    name: string,
    { serial, bytes }: Surveyed,
    { interfaceNames, isNew, mustBeFresh }: { interfaceNames: readonly string[]; isNew: boolean; mustBeFresh: boolean },
    signal: AbortSignal,
  ): Promise<Disk> {
    const { driver } = this.#parts;
    const users = isNew ? [] : await this.removeUnused(signal);
    let found = '';
    for (const attempt of [1, 2]) {
      const disk = await driver.attach(this.address, { timeoutMs: ATTACH_MS, bytes, signal });
      if (!disk) {
        throw new RpcError(
          Code.UNAVAILABLE,
          `${name}: the target answers, but the kernel's aoe driver did not find the disk on ${interfaceNames.join(', ')} within ${ATTACH_MS / 1000} s (state of the disk: ${await this.health()}); see dmesg`,
        );
      }
      found = await driver.serial(this.address, signal);
      if (found === serial && mustBeFresh && users.length > 0) throw inUseAlready(name, users);
      // A program that has it open since before may have read it while another host still wrote to it.
      if (found === serial && isNew) await driver.dropCache(this.address, signal);
      if (found === serial) return disk;
      if (attempt === 1) await this.removeUnused(signal);
    }
    checkSerial(name, found, serial);
    throw new RpcError(Code.INTERNAL, `${name}: the kernel's disk could not be checked`);
  }

  /**
   * Lets the kernel take the size that the target serves, while the disk is in use.
   * @param name how messages name the volume
   * @throws RpcError UNAVAILABLE when the disk is not up, or the kernel does not take the size; FAILED_PRECONDITION when its disk is another one
   */
  async grow(name: string, { serial, bytes }: Surveyed, signal: AbortSignal): Promise<Disk> {
    const { driver } = this.#parts;
    const health = await this.health();
    if (health !== 'up') {
      const message = `${name}: disk ${this.address} is ${health}, so it cannot take a new size: is its storage node in trouble?`;
      throw new RpcError(Code.UNAVAILABLE, message);
    }
    const disk = await driver.grow(this.address, { timeoutMs: GROW_MS, bytes, signal });
    if (!disk) {
      const message = `${name}: the target serves ${bytes} bytes, but the kernel's aoe driver did not take that size within ${GROW_MS / 1000} s (state of the disk: ${await this.health()}); see dmesg`;
      throw new RpcError(Code.UNAVAILABLE, message);
    }
    checkSerial(name, await driver.serial(this.address, signal), serial);
    return disk;
  }

  /**
   * Makes the kernel use a disk again that it had given up while programs have it open. They go on with what it holds now: nobody else
   * may have written to it, and no file system may be mounted from it.
   * @param surveyed serial number and size, as the target reports them
   * @throws RpcError UNAVAILABLE when the kernel does not get an answer; FAILED_PRECONDITION when it got the wrong disk
   */
  async revive(name: string, { serial, bytes }: Surveyed, signal: AbortSignal): Promise<void> {
    const { driver } = this.#parts;
    if (!(await driver.attach(this.address, { timeoutMs: ATTACH_MS, bytes, signal }))) {
      throw new RpcError(Code.UNAVAILABLE, `${name}: the target answers, but the kernel's disk is ${await this.health()}; see dmesg`);
    }
    checkSerial(name, await driver.serial(this.address, signal), serial);
  }

  /**
   * Removes the disk unless it is in use. The kernel may remember a disk that had the address before, or paths to targets that are gone,
   * and it sends to all paths in turn.
   * @returns who uses it, when it stays
   */
  async removeUnused(signal: AbortSignal): Promise<readonly string[]> {
    const mounts = await this.liveMounts();
    if (mounts.length > 0) return mounts.map(({ target }) => `the mount at ${target}`);
    try {
      await this.remove(signal);
      return [];
    } catch (error) {
      if (error instanceof DiskInUseError) return error.users;
      throw error;
    }
  }
}

/** @param name how messages name the volume */
export function inUseAlready(name: string, users: readonly string[]): RpcError {
  const message = `${name}: the disk is in use on this node already, by ${users.join(', ')}; what is cached of it may be stale or of another volume, so end that first`;
  return new RpcError(Code.FAILED_PRECONDITION, message);
}

/**
 * Whether the disk of a mount is gone or down. Such a mount must be detached lazily: a plain unmount would wait for the disk, and nothing
 * can be saved there.
 */
export async function isDiskGoneOrDown(driver: Pick<Driver, 'stack' | 'state'>, { source, device }: MountPoint): Promise<boolean> {
  const address = addressIn(source) ?? source;
  return !(await driver.stack(address)).includes(device) || (await driver.state(address)) !== 'up';
}

/** The address of the disk whose node, or the node of whose mapping, has this path; undefined when it is no such node. */
function addressIn(path: string): string | undefined {
  return /^\/dev\/etherd\/(e\d+\.\d+)$/.exec(path)?.[1] ?? (path.startsWith('/dev/mapper/') ? addressOfMapping(path) : undefined);
}
