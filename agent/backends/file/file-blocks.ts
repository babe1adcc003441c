import { BackendError, type BackingSnapshot } from '../backend.ts';
import type { Blocks, Range, Ranges } from '../blocks.ts';
import { differences, type Extent, type Mapping, written } from './compare-extents.ts';
import { type FileSystem, failed, hasCode } from './file-system.ts';

export interface FileBlocksOptions {
  fs: Pick<FileSystem, 'mapping'>;
  /** A whole snapshot. */
  find: (uid: string) => Promise<BackingSnapshot | undefined>;
}

/** The blocks of snapshots that are clones of files: where their extents are on the disk says which data they share. */
export class FileBlocks implements Blocks {
  readonly #options: FileBlocksOptions;

  constructor(options: FileBlocksOptions) {
    this.#options = options;
  }

  async *allocated(uid: string, from: number, signal: AbortSignal): Ranges {
    const { name, bytes } = await this.#find(uid);
    for (let at = from; at < bytes; ) {
      signal.throwIfAborted();
      const { extents, end } = await this.#mapping(name, at);
      const to = Math.min(end, bytes);
      const found = written(extents, at, to);
      if (found.length > 0) yield found;
      at = to;
    }
  }

  async *changed(baseUID: string, uid: string, from: number, signal: AbortSignal): Ranges {
    const [base, target] = [await this.#find(baseUID), await this.#find(uid)];
    for (let at = from; at < target.bytes; ) {
      signal.throwIfAborted();
      const { ranges, to } = await this.#window(base.name, target, at);
      if (ranges.length > 0) yield ranges;
      at = to;
    }
  }

  /**
   * The differences from an offset up to `to`. File systems may move the data of a file, as when they are balanced. So the base is read
   * twice: when it was in the same places before and after the target was read, then also in that moment.
   */
  async #window(base: string, { name, bytes }: BackingSnapshot, at: number): Promise<{ ranges: Range[]; to: number }> {
    const before = await this.#mapping(base, at);
    const target = await this.#mapping(name, at);
    const after = await this.#mapping(base, at);
    const to = Math.min(before.end, target.end, bytes);
    const isSame = JSON.stringify(before) === JSON.stringify(after);
    return { ranges: differences(isSame ? before.extents : before.extents.map(withoutPlace), target.extents, at, to), to };
  }

  async #find(uid: string): Promise<BackingSnapshot> {
    const found = await this.#options.find(uid);
    if (!found) throw new BackendError('SnapshotLost', `the file of the snapshot with UID ${uid} is not there`);
    return found;
  }

  async #mapping(path: string, from: number): Promise<Mapping> {
    try {
      const mapping = await this.#options.fs.mapping(path, from);
      if (!(mapping.end > from)) throw new Error('the file system told an extent that ends before it begins');
      return mapping;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw new BackendError('SnapshotLost', `${path} was removed while it was read`, { cause: error });
      throw failed(`reading where the data of ${path} is`, error);
    }
  }
}

function withoutPlace({ offset, bytes }: Extent): Extent {
  return { offset, bytes };
}
