import type { FileSystem } from './file-system.ts';

/** What `blocks` of a file are counted in. */
export const BLOCK = 512;
/**
 * What was counted is used for so many times as long as that took. Files of a few extents are counted whenever somebody asks, and the others for a
 * small part of the time only, however many pools of one file system ask, and whatever changes in them.
 */
const KEEP_TIMES = 20;
/** And for no longer than this, in ms: a disk that does not answer for a while makes each count long. */
const MOST_KEPT_MS = 5 * 60_000;

/** The file of a volume: its full size in bytes is promised to it, and it takes `blocks` of 512 bytes on the disk. */
export interface FileSize {
  readonly path: string;
  readonly size: number;
  readonly blocks: number;
}

interface Known {
  readonly bytes: number;
  /** Blocks of the file when it was counted. */
  readonly blocks: number;
  /** Time from which on it is counted again, in ms. */
  readonly until: number;
}

/**
 * Bytes of the blocks of files that no other file shares. To count them, all extents of a file are read, so those of large files are remembered for
 * a while: one object for all pools of a node.
 */
export class UnsharedBytes {
  readonly #fs: Pick<FileSystem, 'unshared' | 'stat'>;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  /** By path: the last count that was begun. */
  readonly #counting = new Map<string, symbol>();

  /** @param now a clock in ms */
  constructor(fs: Pick<FileSystem, 'unshared' | 'stat'>, now = () => performance.now()) {
    this.#fs = fs;
    this.#now = now;
  }

  /**
   * The bytes of a file as they were counted a while ago, with what it has taken or given back since then. Where blocks were written that it
   * had shared, it is less than it has now, but not more.
   * @param file as it is now
   * @throws Error where the file system does not tell; the signal's reason
   */
  async of({ path, blocks }: FileSize, signal: AbortSignal): Promise<number> {
    const known = this.#known.get(path);
    if (known && this.#now() < known.until) return Math.max(0, known.bytes + (blocks - known.blocks) * BLOCK);
    const [began, count] = [this.#now(), Symbol(path)];
    this.#counting.set(path, count);
    const { bytes, isLong } = await this.count(path, signal);
    // What was written to a long file while it was counted may be in the count already.
    const counted = isLong ? Math.max(blocks, (await this.#fs.stat(path)).blocks) : blocks;
    if (this.#counting.get(path) !== count) return bytes;
    this.#counting.delete(path);
    const now = this.#now();
    this.#known.set(path, { bytes, blocks: counted, until: now + Math.min(KEEP_TIMES * (now - began), MOST_KEPT_MS) });
    return bytes;
  }

  /**
   * The bytes of a file as they are now.
   * @returns `isLong`: it has so many extents that it was read in parts, which takes seconds or more
   * @throws Error where the file system does not tell; the signal's reason
   */
  async count(path: string, signal: AbortSignal): Promise<{ bytes: number; isLong: boolean }> {
    let bytes = 0;
    for (let from = 0; ; ) {
      signal.throwIfAborted();
      const { bytes: more, end } = await this.#fs.unshared(path, from);
      bytes += more;
      if (end === undefined) return { bytes, isLong: from > 0 };
      if (end <= from) throw new Error(`the file system told a part of ${path} that ends before it begins`);
      from = end;
    }
  }

  /** A file was cloned or removed: what was counted of it, or is just being counted, is too much. */
  forget(path: string): void {
    this.#known.delete(path);
    this.#counting.delete(path);
  }
}
