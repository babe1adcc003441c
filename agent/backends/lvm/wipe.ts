import { readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Cleanness } from '../backend.ts';
import { failed } from './command/failed.ts';
import { HungCommands } from './command/hung-commands.ts';

const GiB = 1 << 30;
const BASE_LIMIT_MS = 60_000;
/** Per GiB: ten times what a slow SSD needs to zero or discard a GiB by itself. */
const LIMIT_MS_PER_GIB = 5_000;
/** Per GiB that is written: enough for a slow disk under load. */
const WRITE_LIMIT_MS_PER_GIB = 180_000;
/** More at a time would only slow down one another and all other I/O of the group's disks. */
const AT_ONCE_PER_GROUP = 2;
/** Bytes that one program zeroes: as many as take a few seconds, so that others get their turn, and a wipe can be stopped. */
const STEP = { first: 256 * MiB, least: 64 * MiB, most: 4 * GiB, shortMs: 1_000, longMs: 4_000 };

export interface ZeroOptions {
  /** Called from time to time, with the offset up to which all bytes of the range are zeros on stable storage by then. */
  onZeroed: (end: number) => Promise<void>;
  signal: AbortSignal;
}

export interface WipeOptions extends ZeroOptions {
  wipeExtent: WipeExtent;
  /** Bytes from the start that are known to be zeros. */
  from: number;
  /** Bytes at the end that are not exported, if there are any: what hosts take for the end of the disk is before them. */
  tail?: number;
}

/** What the kernel says about a device. */
export interface Traits {
  writeZeroes: boolean;
  discard: boolean;
  rotational: boolean;
}

/** Reads the queue limits of a block device from sysfs. When they cannot be read, the device is taken to support nothing. */
export async function traitsOf(path: string): Promise<Traits> {
  const read = async (limit: string): Promise<number> => {
    const { major, minor } = deviceNumber((await stat(path)).rdev);
    return Number(await readFile(`/sys/dev/block/${major}:${minor}/queue/${limit}`, 'latin1'));
  };
  try {
    const [zeroes, discard, rotational] = await Promise.all([
      read('write_zeroes_max_bytes'),
      read('discard_max_bytes'),
      read('rotational'),
    ]);
    return { writeZeroes: zeroes > 0, discard: discard > 0, rotational: rotational !== 0 };
  } catch {
    return { writeZeroes: false, discard: false, rotational: true };
  }
}

/**
 * Removes old data from block devices, at most two at a time in each volume group.
 *
 * It is all done by programs, because whatever waits for a disk that does not answer cannot be stopped. fallocate(1) ends with
 * fsync(2), which empties the disk's cache.
 */
export class Wiper {
  readonly #traits: (path: string) => Promise<Traits>;
  /** Not that of LVM's commands: a volume that cannot be wiped does not keep LVM from removing others. */
  readonly #commands: HungCommands;
  readonly #turns = new Map<string, Semaphore>();

  constructor(run: Exec, traits: (path: string) => Promise<Traits> = traitsOf) {
    this.#commands = new HungCommands(run);
    this.#traits = traits;
  }

  /**
   * Wipes a new device. Where the device can zero itself quickly, all of it is zeroed. Else wipeExtent `Full` zeroes it a part at a time, which
   * takes as long as to write all of it; wipeExtent `Ends` discards all of it, where the device can, and zeroes the tail and both ends of the rest. A spinning disk zeroes
   * itself no faster than it is written.
   * @throws BackendError, the signal's reason
   */
  async wipe(path: string, bytes: number, { wipeExtent, from, tail = 0, ...options }: WipeOptions): Promise<Cleanness> {
    const { signal } = options;
    const { writeZeroes, discard, rotational } = await this.#traits(path);
    const timeoutMs = BASE_LIMIT_MS + Math.ceil(bytes / GiB) * LIMIT_MS_PER_GIB;
    if (writeZeroes && !rotational) {
      // Punching a hole in a block device is zeroing by the device or an error, and never a slow write of zeros (block/fops.c).
      const args = ['--punch-hole', '--offset', String(from), '--length', String(bytes - from), path];
      if (await this.#attempt(path, 'fallocate', args, { timeoutMs, signal })) return 'zeroed';
    }
    if (wipeExtent === 'Full') {
      await this.zero(path, { from, to: bytes }, options);
      return 'zeroed';
    }
    const isDiscarded =
      discard && (await this.#attempt(path, 'blkdiscard', ['--force', '--step', String(GiB), path], { timeoutMs, signal }));
    const [start, end] = [Math.min(MiB, bytes), Math.min(MiB + tail, bytes)];
    if (start < bytes) await this.#zeroPart(path, { from: 0, to: start }, signal);
    await this.#zeroPart(path, { from: bytes - end, to: bytes }, signal);
    return isDiscarded ? 'discarded' : 'ends';
  }

  /**
   * Makes a part of a device read as zeros, durably, a few seconds' worth at a time. The device may be in use. Offsets are in bytes.
   * @throws BackendError, the signal's reason
   */
  async zero(path: string, { from, to }: { from: number; to: number }, { onZeroed, signal }: ZeroOptions): Promise<void> {
    let step = STEP.first;
    for (let at = from; at < to; ) {
      const end = Math.min(to, at + step);
      const took = await this.#zeroPart(path, { from: at, to: end }, signal);
      at = end;
      if (took < STEP.shortMs) step = Math.min(STEP.most, step * 2);
      if (took > STEP.longMs) step = Math.max(STEP.least, step / 2);
      await onZeroed(at);
    }
  }

  /** Lets the device do it by itself. @returns false when it cannot */
  async #attempt(path: string, program: string, args: string[], options: { timeoutMs: number; signal: AbortSignal }): Promise<boolean> {
    const { signal } = options;
    try {
      await this.#turn(path).run(() => this.#commands.run(groupOf(path), program, args, options), signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      // The kernel offers it, but the device does not support it: go on with the next best.
      if (/not supported|unsupported/i.test(stderrOf(error))) return false;
      throw failed(`wiping ${path}`, error);
    }
  }

  /** Zeroes a part, by the device or by writing zeros (block/blk-lib.c, blkdev_issue_zeroout). @returns how many milliseconds it took */
  async #zeroPart(path: string, { from, to }: { from: number; to: number }, signal: AbortSignal): Promise<number> {
    const timeoutMs = BASE_LIMIT_MS + Math.ceil((to - from) / GiB) * WRITE_LIMIT_MS_PER_GIB;
    const args = ['--zero-range', '--offset', String(from), '--length', String(to - from), path];
    try {
      return await this.#turn(path).run(async () => {
        const begun = performance.now();
        // Without the signal: the program would go on in the kernel to the end of its part, and keep the volume open.
        await this.#commands.run(groupOf(path), 'fallocate', args, { timeoutMs });
        return performance.now() - begun;
      }, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw failed(`zeroing bytes ${from} to ${to} of ${path}`, error);
    }
  }

  #turn(path: string): Semaphore {
    const group = groupOf(path);
    const turn = this.#turns.get(group) ?? new Semaphore(AT_ONCE_PER_GROUP);
    this.#turns.set(group, turn);
    return turn;
  }
}

/** The volume group of a logical volume, by its path: `/dev/vg0/name`. */
function groupOf(path: string): string {
  return basename(dirname(path));
}
