import { open, readFile, stat } from 'node:fs/promises';
import { MiB } from '../../../api/quantity.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { failed } from './cli.ts';

/**
 * How clean a volume is. `zeroed`: every block reads as zeros. `discarded`: the device was told to forget every block, and
 * most then read as zeros. `ends`: only the first and last MiB are zeros, where file systems, partition tables, RAID and
 * LVM keep their labels; what lies between may still be another volume's old data.
 */
export type Cleanness = 'zeroed' | 'discarded' | 'ends';

const BASE_LIMIT_MS = 60_000;
/** Per GiB: ten times what a slow SSD takes to zero or discard that much by its own means. */
const LIMIT_MS_PER_GIB = 5_000;
const GiB = 1 << 30;

export type Wipe = (path: string, bytes: number, signal: AbortSignal) => Promise<Cleanness>;

/** What the kernel says of a device. */
export interface Traits {
  writeZeroes: boolean;
  discard: boolean;
  rotational: boolean;
}

/** Reads a block device's queue limits from sysfs; the least is assumed when they cannot be read. */
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
 * Makes a new block device hold nothing of its blocks' previous owner: by the device's own zeroing where it has it, else by
 * discard where it has that, and always by zeros at both ends. A spinning disk would zero itself no faster than it is
 * written: there, only the ends.
 * @throws BackendError
 */
export function wiper(run: Exec, traits: (path: string) => Promise<Traits> = traitsOf, ends = zeroEnds): Wipe {
  return async (path, bytes, signal) => {
    const { writeZeroes, discard, rotational } = await traits(path);
    const timeoutMs = BASE_LIMIT_MS + Math.ceil(bytes / GiB) * LIMIT_MS_PER_GIB;
    const attempt = async (command: string, ...args: string[]): Promise<boolean> => {
      try {
        await run(command, [...args, path], { timeoutMs, signal });
        return true;
      } catch (error) {
        signal.throwIfAborted();
        // The kernel offers what the device then does not know: go on with the next best.
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

/** Wipes so many volumes at a time: more would only slow each other, and everybody's I/O, down. */
export function limited(wipe: Wipe, atOnce: number): Wipe {
  const turns = new Semaphore(atOnce);
  return (path, bytes, signal) => turns.run(() => wipe(path, bytes, signal), signal);
}
