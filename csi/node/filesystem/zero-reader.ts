import { type FileHandle, open } from 'node:fs/promises';
import { Semaphore } from '../../../run/semaphore.ts';

/** A MiB is read within a fraction of a second, also by a slow machine with much to do. */
const LIMIT_MS = 3_000;
const CHUNK = 128 << 10;
const ZEROS = Buffer.alloc(CHUNK);

export interface Part {
  readonly start: number;
  readonly length: number;
}

/**
 * Reads parts of disks without starting a program. A read of a disk that does not answer occupies one of the four threads that Node.js has
 * for all file operations, so there is one read at a time; and as long as one takes too long, there is no other.
 */
export class ZeroReader {
  readonly #limitMs: number;
  readonly #one = new Semaphore(1);
  readonly #chunk = Buffer.alloc(CHUNK);
  #isLate = false;

  constructor(limitMs = LIMIT_MS) {
    this.#limitMs = limitMs;
  }

  /**
   * Whether all parts hold only zeros. False also for a part that is not there: nothing is known about it.
   * @param path a disk that was opened before: the first open can hang longer than a read
   * @returns undefined when that was not found out in time
   * @throws what open(2) or read(2) gives, or the signal's reason
   */
  async areZero(path: string, parts: readonly Part[], signal: AbortSignal): Promise<boolean | undefined> {
    if (this.#isLate) return undefined;
    const limit = AbortSignal.timeout(this.#limitMs);
    try {
      return await this.#one.runOrAbandon(() => this.#read(path, parts), AbortSignal.any([signal, limit]));
    } catch (error) {
      signal.throwIfAborted();
      if (!limit.aborted) throw error;
      // Until the read that is under way ends.
      this.#isLate = true;
      return undefined;
    }
  }

  async #read(path: string, parts: readonly Part[]): Promise<boolean> {
    try {
      await using file = await open(path);
      for (const part of parts) if (!(await this.#isZero(file, part))) return false;
      return true;
    } finally {
      this.#isLate = false;
    }
  }

  async #isZero(file: FileHandle, { start, length }: Part): Promise<boolean> {
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(this.#chunk, 0, Math.min(CHUNK, length - done), start + done);
      if (bytesRead === 0 || ZEROS.compare(this.#chunk, 0, bytesRead, 0, bytesRead) !== 0) return false;
      done += bytesRead;
    }
    return true;
  }
}
