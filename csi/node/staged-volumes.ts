import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Access, isAccess } from '../../api/volume.ts';

/** What NodeUnstageVolume must know, which is told to NodeStageVolume only. */
export interface StagedVolume {
  version: 1;
  volumeUID: string;
  address: string;
  access: Access;
  external: boolean;
  stagingPath: string;
}

function isStagedVolume(value: unknown): value is StagedVolume {
  const { version, volumeUID, address, access, external, stagingPath } = value as Record<keyof StagedVolume, unknown>;
  const texts = [volumeUID, address, stagingPath].every((text) => typeof text === 'string');
  return version === 1 && texts && isAccess(access) && typeof external === 'boolean';
}

/** A file for each volume that is staged here, or may be: written before anything else is done, removed last. */
export class StagedVolumes {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Undefined when there is none, or it cannot be read. */
  async get(volumeId: string): Promise<StagedVolume | undefined> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#path(volumeId), 'utf8'));
      return isStagedVolume(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }

  async put(volumeId: string, volume: StagedVolume): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const path = this.#path(volumeId);
    const temporary = `${path}.new`;
    {
      await using file = await open(temporary, 'w', 0o600);
      await file.writeFile(`${JSON.stringify(volume)}\n`);
      await file.sync();
    }
    await rename(temporary, path);
  }

  async delete(volumeId: string): Promise<void> {
    await rm(this.#path(volumeId), { force: true });
  }

  /** The volumes that there are files of. */
  async list(): Promise<string[]> {
    const files = await readdir(this.#directory).catch(() => []);
    return files.filter((file) => file.endsWith('.json')).map((file) => decodeURIComponent(file.slice(0, -'.json'.length)));
  }

  /** Another volume that is staged here and has the address: the address was given away since. */
  async successor(volumeId: string, address: string): Promise<string | undefined> {
    for (const other of await this.list()) {
      if (other !== volumeId && (await this.get(other))?.address === address) return other;
    }
    return undefined;
  }

  #path(volumeId: string): string {
    return join(this.#directory, `${encodeURIComponent(volumeId)}.json`);
  }
}
