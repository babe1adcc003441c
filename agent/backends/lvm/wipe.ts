import { readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { BackendError, type Cleanness } from '../backend.ts';
import { failed } from './command/failed.ts';
import { HungCommands } from './command/hung-commands.ts';

const GiB = 1 << 30;
/**
 * How long a program may take, in milliseconds: a fixed time, and more for each GiB. That is enough for a slow disk under load: one that needs
 * longer to zero or discard by itself hangs, or does that badly.
 */
const LIMIT_MS = { base: 60_000, perGiB: 180_000 };
/** With wipeExtent `Ends`, how long a device may zero all of a volume, and then discard it: ten times what a slow SSD needs. */
const ENDS_LIMIT_MS = { base: 60_000, perGiB: 5_000 };
/** More at a time would only slow down one another and all other I/O of the group's disks. */
const AT_ONCE_PER_GROUP = 2;
/**
 * Bytes that one program wipes: as many as take a few seconds, so that others get their turn, and a wipe can be stopped. A program that is
 * killed at its limit may go on in the kernel to the end of its part (blkdev_issue_zeroout, before Linux 6.9). It keeps the group's other
 * wipes waiting, but not for longer than a part takes.
 */
const STEP = { first: 256 * MiB, least: 64 * MiB, most: 4 * GiB, shortMs: 1_000, longMs: 4_000 };

/** A part of a device, in bytes. */
interface Part {
  from: number;
  to: number;
}

/** What a program does with a part of a device. */
interface Method {
  readonly doing: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Whether another method takes over when the device cannot do it, or not in time. */
  readonly mayGiveUp: boolean;
}

/** The device zeroes by itself, or refuses: it is never a slow write of zeros (block/fops.c, FALLOC_FL_PUNCH_HOLE). */
const PUNCH: Method = { doing: 'zeroing', program: 'fallocate', args: ['--punch-hole'], mayGiveUp: true };
/** The device zeroes by itself, or the kernel writes zeros (block/blk-lib.c, blkdev_issue_zeroout). */
const ZERO: Method = { doing: 'zeroing', program: 'fallocate', args: ['--zero-range'], mayGiveUp: false };
const DISCARD: Method = { doing: 'discarding', program: 'blkdiscard', args: ['--force'], mayGiveUp: true };

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
  readonly #now: () => number;

  constructor(run: Exec, traits: (path: string) => Promise<Traits> = traitsOf, now: () => number = () => performance.now()) {
    this.#commands = new HungCommands(run);
    this.#traits = traits;
    this.#now = now;
  }

  /**
   * Wipes a new device, a part at a time. Where the device can zero itself quickly, all of it is zeroed so. Else, or as soon as the device
   * refuses or takes too long, wipeExtent `Full` zeroes the rest, which takes as long as to write it; wipeExtent `Ends` discards the rest, where the
   * device can and does it in time, and zeroes the tail and both ends. A spinning disk zeroes itself no faster than it is written.
   * @throws BackendError, the signal's reason
   */
  async wipe(path: string, bytes: number, { wipeExtent, from, tail = 0, ...options }: WipeOptions): Promise<Cleanness> {
    const { signal } = options;
    const { writeZeroes, discard, rotational } = await this.#traits(path);
    const limitMs = wipeExtent === 'Ends' ? ENDS_LIMIT_MS.base + Math.ceil(bytes / GiB) * ENDS_LIMIT_MS.perGiB : Number.POSITIVE_INFINITY;
    let zeroed = from;
    if (writeZeroes && !rotational) zeroed = await this.#wipePart(PUNCH, path, { from, to: bytes }, { ...options, limitMs });
    if (wipeExtent === 'Full') zeroed = await this.#wipePart(ZERO, path, { from: zeroed, to: bytes }, options);
    if (zeroed >= bytes) return 'zeroed';
    // Not what is known to be zeros: a discard may make something else of them.
    const discarded = discard ? await this.#wipePart(DISCARD, path, { from: zeroed, to: bytes }, { signal, limitMs }) : zeroed;
    const [start, end] = [Math.min(MiB, bytes), Math.min(MiB + tail, bytes)];
    if (start < bytes) await this.#run(ZERO, path, { from: 0, to: start }, signal);
    await this.#run(ZERO, path, { from: bytes - end, to: bytes }, signal);
    return discarded >= bytes ? 'discarded' : 'ends';
  }

  /**
   * Makes a part of a device read as zeros, durably, a few seconds' worth at a time. The device may be in use. Offsets are in bytes.
   * @throws BackendError, the signal's reason
   */
  async zero(path: string, part: Part, options: ZeroOptions): Promise<void> {
    await this.#wipePart(ZERO, path, part, options);
  }

  /**
   * Runs a method on a part of a device, a few seconds' worth at a time.
   * @param options `limitMs`: after so many milliseconds of work it is given up; without it, only when a program reaches its own limit
   * @returns where it ended: before `to` when it was given up
   */
  async #wipePart(
    method: Method,
    path: string,
    { from, to }: Part,
    { onZeroed, signal, limitMs = Number.POSITIVE_INFINITY }: Partial<ZeroOptions> & { signal: AbortSignal; limitMs?: number },
  ): Promise<number> {
    let step = STEP.first;
    let at = from;
    for (let spentMs = 0; at < to && spentMs < limitMs; ) {
      const end = Math.min(to, at + step);
      const took = await this.#run(method, path, { from: at, to: end }, signal);
      if (took === undefined) break;
      at = end;
      spentMs += took;
      if (took < STEP.shortMs) step = Math.min(STEP.most, step * 2);
      if (took > STEP.longMs) step = Math.max(STEP.least, step / 2);
      await onZeroed?.(at);
    }
    return at;
  }

  /**
   * Runs a method's program on a part.
   * @returns how many milliseconds it took; undefined when it is given up
   * @throws BackendError PoolNotReady when it cannot be killed; BackendFailed; the signal's reason
   */
  async #run(
    { doing, program, args, mayGiveUp }: Method,
    path: string,
    { from, to }: Part,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const timeoutMs = LIMIT_MS.base + Math.ceil((to - from) / GiB) * LIMIT_MS.perGiB;
    const range = ['--offset', String(from), '--length', String(to - from), path];
    let isLate = false;
    const onKilled = (): void => {
      isLate = true;
    };
    try {
      return await this.#turn(path).run(async () => {
        const begun = this.#now();
        // Without the signal: the program would go on in the kernel to the end of its part, and keep the volume open.
        await this.#commands.run(groupOf(path), program, [...args, ...range], { timeoutMs, onKilled });
        return this.#now() - begun;
      }, signal);
    } catch (error) {
      signal.throwIfAborted();
      const isRefused = isLate || /not supported|unsupported/i.test(stderrOf(error));
      if (mayGiveUp && isRefused && !(error instanceof BackendError)) return undefined;
      throw failed(`${doing} bytes ${from} to ${to} of ${path}`, error);
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
