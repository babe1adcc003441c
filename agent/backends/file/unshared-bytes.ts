import { dirname } from 'node:path';
import { Semaphore } from '../../../run/semaphore.ts';
import { within } from '../../../run/within.ts';
import { BackendError } from '../backend.ts';
import { type FileSystem, readable } from './file-system.ts';

/** What `blocks` of a file are counted in. */
export const BLOCK = 512;
/**
 * How long a count is used. That is so many `times` as long as all files took to be counted: disks are read for a small part of the time only,
 * however many pools of one file system ask, and whatever changes in them. But it is no longer than `mostMs`, since a disk that does not answer
 * for a while makes a count long; and no shorter than `leastTimes` as long: files of tens of millions of extents take more than `mostMs`.
 */
const KEEP = { times: 20, mostMs: 5 * 60_000, leastTimes: 2 };
/** Who asks waits for counts no longer than this, in ms: others wait for the directory's turn meanwhile. */
const WAIT_MS = 5_000;
/** A file that was counted within this, in ms, can be counted again while its volume is held. */
const SHORT_MS = 1_000;
/** In place of the time when a file was counted: it is counted again at once. */
const RENEWED = Number.NEGATIVE_INFINITY;

/** The file of a volume: its full size in bytes is promised to it, and it takes `blocks` of 512 bytes on the disk. */
export interface FileSize {
  readonly path: string;
  readonly size: number;
  readonly blocks: number;
}

/** What a file has of its own. */
export interface Own {
  /** Bytes of its blocks that no other file shares. */
  readonly bytes: number;
  /** It has so few extents that it can be counted again while its volume is held, and was counted since that was asked for. */
  readonly isShort: boolean;
}

interface Known extends Own {
  /** Blocks of the file when it was counted. */
  readonly blocks: number;
  /** How long that took, in ms. */
  readonly tookMs: number;
  /** When it was counted, in ms. */
  at: number;
}

interface Counted extends Pick<Known, 'bytes' | 'blocks'> {
  /** In how many parts the file was read; 0 where the file system does not tell, which has no shared blocks then. */
  readonly parts: number;
}

/**
 * Bytes of the blocks of files that no other file shares. To count them, all extents of a file are read, which takes minutes for files of very many
 * extents. So that is done in the background, one file of a directory after the other, and who asks waits for a moment only. One object for all
 * pools of a node.
 */
export class UnsharedBytes {
  readonly #fs: Pick<FileSystem, 'unshared' | 'stat'>;
  readonly #now: () => number;
  readonly #waitMs: number;
  readonly #known = new Map<string, Known>();
  /** By path: the count that is under way, or waits for its turn. */
  readonly #counting = new Map<string, Promise<void>>();
  /** By directory: a disk that does not answer holds up no other one. */
  readonly #turns = new Map<string, Semaphore>();

  /** @param options `now`: a clock in ms; `waitMs`: how long {@link of} waits for counts */
  constructor(fs: Pick<FileSystem, 'unshared' | 'stat'>, { now = () => performance.now(), waitMs = WAIT_MS } = {}) {
    this.#fs = fs;
    this.#now = now;
    this.#waitMs = waitMs;
  }

  /**
   * What files have of their own, by path: as it was counted last, with what each has taken or given back since then. Where blocks were written that a
   * file had shared, it is less than it has now, but not more. Files that were not counted yet are absent: all of their blocks may be shared.
   * @throws BackendError while the disk does not answer; the signal's reason
   */
  async of(files: readonly Pick<FileSize, 'path'>[], signal: AbortSignal): Promise<Map<string, Own>> {
    const dueSince = this.#now() - this.#keptMs();
    const due = files.filter(({ path }) => (this.#known.get(path)?.at ?? RENEWED) <= dueSince);
    if (due.length > 0) await within(this.#waitMs, Promise.all(due.map(({ path }) => this.#counted(path))), signal);
    const found = new Map<string, Own>();
    for (const { path } of files) {
      signal.throwIfAborted();
      const stats = await readable(this.#fs.stat(path));
      const known = this.#known.get(path);
      if (!stats || !known) continue;
      const isShort = known.isShort && known.at !== RENEWED;
      found.set(path, { bytes: Math.max(0, known.bytes + (stats.blocks - known.blocks) * BLOCK), isShort });
    }
    return found;
  }

  /** What was counted of a file must be of now: unless that takes long, it is counted again when somebody asks. */
  renew(path: string): void {
    const known = this.#known.get(path);
    if (known?.isShort) known.at = RENEWED;
  }

  /** A file was cloned or removed: what was counted of it, or is just being counted, is too much. */
  forget(path: string): void {
    this.#known.delete(path);
    this.#counting.delete(path);
  }

  /** How long counts are used, in ms. */
  #keptMs(): number {
    const passMs = [...this.#known.values()].reduce((sum, { tookMs }) => sum + tookMs, 0);
    return Math.max(KEEP.leastTimes * passMs, Math.min(KEEP.times * passMs, KEEP.mostMs));
  }

  /** Ends when the file was counted, or could not be; never fails. */
  #counted(path: string): Promise<void> {
    const underWay = this.#counting.get(path);
    if (underWay) return underWay;
    const directory = dirname(path);
    const turns = this.#turns.get(directory) ?? new Semaphore(1);
    this.#turns.set(directory, turns);
    const count: Promise<void> = turns.run(() => this.#count(path, () => this.#counting.get(path) === count));
    this.#counting.set(path, count);
    return count;
  }

  /** @param isWanted whether the file was not forgotten meanwhile */
  async #count(path: string, isWanted: () => boolean): Promise<void> {
    const began = this.#now();
    let counted: Counted | undefined;
    try {
      counted = await readable(this.#read(path, isWanted));
    } catch {
      // The disk does not answer now, which says nothing of the file: what was counted before still holds.
      if (isWanted()) this.#counting.delete(path);
      return;
    }
    if (!isWanted()) return;
    this.#counting.delete(path);
    this.#known.delete(path);
    if (!counted) return;
    const { parts, ...found } = counted;
    const at = this.#now();
    const tookMs = at - began;
    this.#known.set(path, { ...found, isShort: parts === 1 && tookMs <= SHORT_MS, tookMs, at });
  }

  /** @throws errors of the file system, BackendError */
  async #read(path: string, isWanted: () => boolean): Promise<Counted> {
    const { blocks: before } = await this.#fs.stat(path);
    let [bytes, parts] = [0, 0];
    for (let from: number | undefined = 0; from !== undefined && isWanted(); parts++) {
      try {
        const { bytes: more, end }: { bytes: number; end?: number } = await this.#fs.unshared(path, from);
        if (end !== undefined && end <= from) throw new Error(`the file system told a part of ${path} that ends before it begins`);
        bytes += more;
        from = end;
      } catch (error) {
        if (error instanceof BackendError || (error instanceof Error && 'code' in error)) throw error;
        return { bytes: before * BLOCK, blocks: before, parts: 0 };
      }
    }
    // What was written to the file while it was counted may be in the count already.
    return { bytes, blocks: Math.max(before, (await this.#fs.stat(path)).blocks), parts };
  }
}
