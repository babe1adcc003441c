import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Cleanness } from '../backend.ts';
import { failed } from './failed.ts';
import { HungCommands } from './hung-commands.ts';

const BASE_LIMIT_MS = 60_000;
/** Per GiB: ten times what a slow SSD needs to zero or discard a GiB by itself. */
const LIMIT_MS_PER_GIB = 5_000;
const GiB = 1 << 30;

/** Zeroing without help of the device writes every byte: this is long enough for a slow disk under load. */
const ZERO_LIMIT_MS_PER_GIB = 180_000;
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
    const timeoutMs = BASE_LIMIT_MS + Math.ceil((to - from) / GiB) * ZERO_LIMIT_MS_PER_GIB;
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

export type Wipe = (path: string, bytes: number, signal: AbortSignal) => Promise<Cleanness>;

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

/** Writes zeros over the first and last MiB, to stable storage. */
export async function zeroEnds(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const zeros = Buffer.alloc(Math.min(MiB, bytes));
    for (const at of new Set([0, bytes - zeros.length])) {
      for (let done = 0; done < zeros.length; ) done += (await file.write(zeros, done, zeros.length - done, at + done)).bytesWritten;
    }
    await file.datasync();
  } finally {
    await file.close();
  }
}

/**
 * Removes a previous owner's data from a new block device, as far as that is quick: by the device's own zeroing where it has it,
 * else by discard where it has that, and always by zeros at both ends. A spinning disk zeroes itself no faster than it is
 * written, so only its ends are zeroed.
 * @throws BackendError
 */
export function wiper(run: Exec, traits: (path: string) => Promise<Traits> = traitsOf, ends = zeroEnds): Wipe {
  // Not those of LVM's commands: a volume that cannot be wiped does not keep LVM from removing others.
  const commands = new HungCommands(run);
  return async (path, bytes, signal) => {
    const { writeZeroes, discard, rotational } = await traits(path);
    const timeoutMs = BASE_LIMIT_MS + Math.ceil(bytes / GiB) * LIMIT_MS_PER_GIB;
    const attempt = async (command: string, ...args: string[]): Promise<boolean> => {
      try {
        await commands.run(basename(dirname(path)), command, [...args, path], { timeoutMs, signal });
        return true;
      } catch (error) {
        signal.throwIfAborted();
        // The kernel offers it, but the device does not support it: go on with the next best.
        if (/not supported|unsupported/i.test(stderrOf(error))) return false;
        throw failed(`wiping ${path}`, error);
      }
    };
    let cleanness: Cleanness = 'ends';
    // Punching a hole in a block device is zeroing by the device or an error, and never a slow write of zeros (block/fops.c).
    const punch = (): Promise<boolean> => attempt('fallocate', '--punch-hole', '--offset', '0', '--length', String(bytes));
    if (writeZeroes && !rotational && (await punch())) cleanness = 'zeroed';
    else if (discard && (await attempt('blkdiscard', '--force', '--step', String(GiB)))) cleanness = 'discarded';
    try {
      await ends(path, bytes);
    } catch (error) {
      throw failed(`wiping the ends of ${path}`, error);
    }
    return cleanness;
  };
}

/** Wipes at most `atOnce` volumes at a time: more would only slow down one another and all other I/O. */
export function limited(wipe: Wipe, atOnce: number): Wipe {
  const turns = new Semaphore(atOnce);
  return (path, bytes, signal) => turns.run(() => wipe(path, bytes, signal), signal);
}
