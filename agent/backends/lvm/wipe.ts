import { readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Cleanness } from '../backend.ts';
import { failed } from './failed.ts';
import { HungCommands } from './hung-commands.ts';

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

const RANGES_AT_ONCE = 2;

/** Makes a part of a device read as zeros, durably. Offsets are in bytes. */
export type WipeRange = (path: string, range: { from: number; to: number }, signal: AbortSignal) => Promise<void>;

/**
 * Zeroes parts of devices, by the device's own zeroing where it has it, else by writing zeros (block/blk-lib.c, blkdev_issue_zeroout).
 * The device may be in use.
 * @throws BackendError
 */
export function rangeWiper(run: Exec): WipeRange {
  const commands = new HungCommands(run);
  const turns = new Semaphore(RANGES_AT_ONCE);
  return async (path, { from, to }, signal) => {
    const timeoutMs = BASE_LIMIT_MS + Math.ceil((to - from) / GiB) * WRITE_LIMIT_MS_PER_GIB;
    const range = ['--offset', String(from), '--length', String(to - from), '--step', String(GiB)];
    await turns.run(async () => {
      try {
        await commands.run(basename(dirname(path)), 'blkdiscard', ['--zeroout', '--force', ...range, path], { timeoutMs, signal });
        await commands.run(basename(dirname(path)), 'sync', ['--data', path], { timeoutMs, signal });
      } catch (error) {
        signal.throwIfAborted();
        throw failed(`wiping bytes ${from} to ${to} of ${path}`, error);
      }
    }, signal);
  };
}

export interface WipeOptions {
  extent: WipeExtent;
  /** Bytes from the start that are known to be zeros. */
  from: number;
  /** Called from time to time when all writes are done: so many bytes from the start are zeros on stable storage. */
  onZeroed: (bytes: number) => Promise<void>;
  signal: AbortSignal;
}

/**
 * Removes a previous owner's data from a new block device.
 * @throws BackendError, the signal's reason
 */
export type Wipe = (path: string, bytes: number, options: WipeOptions) => Promise<Cleanness>;

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
 * Wipes new block devices, at most a few of each volume group at a time. Where the device can zero itself quickly, all of it is
 * zeroed. Else extent `Full` zeroes it a part at a time, which takes as long as to write all of it; extent `Ends` discards all of it,
 * where the device can, and zeroes both ends. A spinning disk zeroes itself no faster than it is written.
 *
 * It is all done by programs, because whatever waits for a disk that does not answer cannot be stopped. fallocate(1) ends with
 * fsync(2), which empties the disk's cache.
 */
export function wiper(run: Exec, traits: (path: string) => Promise<Traits> = traitsOf): Wipe {
  // Not those of LVM's commands: a volume that cannot be wiped does not keep LVM from removing others.
  const commands = new HungCommands(run);
  const turns = new Map<string, Semaphore>();
  return async (path, bytes, { extent, from, onZeroed, signal }) => {
    const group = basename(dirname(path));
    const turn = turns.get(group) ?? new Semaphore(AT_ONCE_PER_GROUP);
    turns.set(group, turn);

    /** Lets the device do it by itself. @returns false when it cannot */
    const attempt = async (program: string, ...args: string[]): Promise<boolean> => {
      const timeoutMs = BASE_LIMIT_MS + Math.ceil(bytes / GiB) * LIMIT_MS_PER_GIB;
      try {
        await turn.run(() => commands.run(group, program, [...args, path], { timeoutMs, signal }), signal);
        return true;
      } catch (error) {
        signal.throwIfAborted();
        // The kernel offers it, but the device does not support it: go on with the next best.
        if (/not supported|unsupported/i.test(stderrOf(error))) return false;
        throw failed(`wiping ${path}`, error);
      }
    };
    /** Zeroes a part, by the device or by writing zeros (block/blk-lib.c, blkdev_issue_zeroout). @returns how many milliseconds it took */
    const zero = async (start: number, end: number): Promise<number> => {
      const timeoutMs = BASE_LIMIT_MS + Math.ceil((end - start) / GiB) * WRITE_LIMIT_MS_PER_GIB;
      const args = ['--zero-range', '--offset', String(start), '--length', String(end - start), path];
      try {
        return await turn.run(async () => {
          const begun = performance.now();
          // Without the signal: the program would go on in the kernel to the end of its part, and keep the volume open.
          await commands.run(group, 'fallocate', args, { timeoutMs });
          return performance.now() - begun;
        }, signal);
      } catch (error) {
        signal.throwIfAborted();
        throw failed(`zeroing bytes ${start} to ${end} of ${path}`, error);
      }
    };

    const { writeZeroes, discard, rotational } = await traits(path);
    // Punching a hole in a block device is zeroing by the device or an error, and never a slow write of zeros (block/fops.c).
    const punch = (): Promise<boolean> => attempt('fallocate', '--punch-hole', '--offset', String(from), '--length', String(bytes - from));
    if (writeZeroes && !rotational && (await punch())) return 'zeroed';
    if (extent === 'Full') {
      let step = STEP.first;
      for (let at = from; at < bytes; ) {
        const end = Math.min(bytes, at + step);
        const took = await zero(at, end);
        at = end;
        if (took < STEP.shortMs) step = Math.min(STEP.most, step * 2);
        if (took > STEP.longMs) step = Math.max(STEP.least, step / 2);
        await onZeroed(at);
      }
      return 'zeroed';
    }
    const isDiscarded = discard && (await attempt('blkdiscard', '--force', '--step', String(GiB)));
    const end = Math.min(MiB, bytes);
    for (const at of new Set([0, bytes - end])) await zero(at, at + end);
    return isDiscarded ? 'discarded' : 'ends';
  };
}
