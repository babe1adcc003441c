import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LockOwner } from '../../../aoe/mod.ts';
import { type Access, isAccess } from '../../../api/volume.ts';

/** What NodeUnstageVolume must know, which is told to NodeStageVolume only. */
export interface StagedVolume {
  version: 1;
  volumeUID: string;
  address: string;
  access: Access;
  external: boolean;
  stagingPath: string;
  /** metadata.uid of the Node as the lock names it, also when the Node has been made anew since; absent in files of earlier versions. */
  nodeUID?: string;
  /**
   * Times (`since`) of the locks under which this node may have used the volume, the newest last; absent where there is no lock,
   * and in files of earlier versions. A lock of another time was taken after this node had lost the volume.
   */
  locks?: string[];
}

function isStagedVolume(value: unknown): value is StagedVolume {
  const { version, volumeUID, address, access, external, stagingPath, nodeUID, locks } = value as Record<keyof StagedVolume, unknown>;
  const texts = [volumeUID, address, stagingPath].every((text) => typeof text === 'string');
  return (
    version === 1 &&
    texts &&
    isAccess(access) &&
    typeof external === 'boolean' &&
    (locks === undefined || Array.isArray(locks)) &&
    ['string', 'undefined'].includes(typeof nodeUID)
  );
}

/**
 * A file for each volume that is staged here, or may be: written before anything else is done, removed last. One that was
 * taken from this node leaves a mark, since the kubelet still holds it for staged.
 */
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
    await rm(this.#mark(volumeId), { force: true });
  }

  async delete(volumeId: string): Promise<void> {
    await rm(this.#path(volumeId), { force: true });
    await rm(this.#mark(volumeId), { force: true });
  }

  /** It was taken from this node: like `delete`, with a mark until it is staged again or unstaged. */
  async lose(volumeId: string): Promise<void> {
    await rename(this.#path(volumeId), this.#mark(volumeId));
  }

  async wasLost(volumeId: string): Promise<boolean> {
    return stat(this.#mark(volumeId)).then(
      () => true,
      () => false,
    );
  }

  /** The volumes that there are files of. */
  async list(): Promise<string[]> {
    return this.#named('.json');
  }

  /** The volumes that were taken from this node. */
  async listLost(): Promise<string[]> {
    return this.#named('.lost');
  }

  /** Another volume that is staged here and has the address: the address was given away since. */
  async successor(volumeId: string, address: string): Promise<string | undefined> {
    for (const other of await this.list()) {
      if (other !== volumeId && (await this.get(other))?.address === address) return other;
    }
    return undefined;
  }

  async #named(ending: string): Promise<string[]> {
    const files = await readdir(this.#directory).catch(() => []);
    return files.filter((file) => file.endsWith(ending)).map((file) => decodeURIComponent(file.slice(0, -ending.length)));
  }

  #mark(volumeId: string): string {
    return join(this.#directory, `${encodeURIComponent(volumeId)}.lost`);
  }

  #path(volumeId: string): string {
    return join(this.#directory, `${encodeURIComponent(volumeId)}.json`);
  }
}

/** Whose the lock of a staged volume is. */
export function ownerOf({ nodeName, nodeUID }: { nodeName: string; nodeUID: string }, staged: StagedVolume): LockOwner {
  return { node: nodeName, nodeUID: staged.nodeUID ?? nodeUID, volumeUID: staged.volumeUID };
}
