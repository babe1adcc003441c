import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** A file system that is frozen, or may be. */
export interface FrozenVolume {
  readonly version: 1;
  /** Name of the AoEVolume. */
  readonly volumeId: string;
  /** The block device of the file system: `major:minor`. */
  readonly device: string;
  /** The boot of the node in which it was frozen: no freeze outlives it. */
  readonly bootId: string;
  /** When it was written, as an ISO 8601 time. */
  readonly since: string;
}

export interface FreezeRecords {
  /** Fulfilled when it is on stable storage. */
  put(frozen: FrozenVolume): Promise<void>;
  delete(volumeId: string): Promise<void>;
  list(): Promise<FrozenVolume[]>;
}

/** A file for each file system that this node's plugin has frozen, or was about to: written before the freeze, removed after the thaw. */
export class FreezeFiles implements FreezeRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async put(frozen: FrozenVolume): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const path = this.#path(frozen.volumeId);
    const temporary = `${path}.new`;
    {
      await using file = await open(temporary, 'w', 0o600);
      await file.writeFile(`${JSON.stringify(frozen)}\n`);
      await file.sync();
    }
    await rename(temporary, path);
    await using directory = await open(this.#directory, 'r');
    await directory.sync();
  }

  async delete(volumeId: string): Promise<void> {
    await rm(this.#path(volumeId), { force: true });
  }

  /** What is recorded. A file that was never finished was followed by no freeze. @throws Error when a file cannot be read */
  async list(): Promise<FrozenVolume[]> {
    const names = await readdir(this.#directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names.filter((each) => each.endsWith('.new'))) await rm(join(this.#directory, name), { force: true });
    const texts = await Promise.all(
      names.filter((name) => name.endsWith('.json')).map((name) => readFile(join(this.#directory, name), 'utf8')),
    );
    return texts.flatMap((text) => parse(text) ?? []);
  }

  #path(volumeId: string): string {
    return join(this.#directory, `${encodeURIComponent(volumeId)}.json`);
  }
}

function parse(text: string): FrozenVolume | undefined {
  try {
    const value = JSON.parse(text) as Record<keyof FrozenVolume, unknown>;
    const texts = [value.volumeId, value.device, value.bootId, value.since].every((each) => typeof each === 'string');
    return value.version === 1 && texts ? (value as unknown as FrozenVolume) : undefined;
  } catch {
    return undefined;
  }
}
