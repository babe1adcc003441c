import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LockOwner } from '../../../aoe/mod.ts';
import { type Access, type Encrypted, isAccess } from '../../../api/volume.ts';

/** What NodeUnstageVolume must know of a volume, and only NodeStageVolume is told. */
export interface StagedVolume {
  version: 1;
  volumeUID: string;
  address: string;
  access: Access;
  external: boolean;
  /** What is used of its disk is a mapping. */
  encrypted?: boolean;
  /** The mapping has tags, so that it never grows. */
  authenticated?: boolean;
  stagingPath: string;
  /** metadata.uid of the Node as the lock names it, which may since have been deleted and created again; absent in files of earlier versions. */
  nodeUID?: string;
  /**
   * Times (`since`) of the locks under which this node may have used the volume, the newest last; absent for volumes without a lock,
   * and in files of earlier versions. A lock with any other time was taken after this node had lost the volume.
   */
  locks?: string[];
}

function isStagedVolume(value: unknown): value is StagedVolume {
  const { version, volumeUID, address, access, external, encrypted, authenticated, stagingPath, nodeUID, locks } = value as Record<
    keyof StagedVolume,
    unknown
  >;
  const texts = [volumeUID, address, stagingPath].every((text) => typeof text === 'string');
  return (
    version === 1 &&
    texts &&
    isAccess(access) &&
    typeof external === 'boolean' &&
    [encrypted, authenticated].every((each) => ['boolean', 'undefined'].includes(typeof each)) &&
    (locks === undefined || Array.isArray(locks)) &&
    ['string', 'undefined'].includes(typeof nodeUID)
  );
}

/**
 * A file for each volume that is staged here, or may be: written before anything else is done, removed last. A volume that this node has
 * lost leaves a mark, since the kubelet still believes that it is staged.
 */
export class StagedVolumes {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Undefined when the volume has no file, or the file is damaged. */
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

  /** Marks a volume as lost that is about to be cleaned up. Its file stays. */
  async markLost(volumeId: string): Promise<void> {
    await (await open(this.#mark(volumeId), 'w', 0o600)).close();
  }

  /** Removes the file of a volume that this node has lost, and leaves a mark until it is staged again or unstaged. */
  async lose(volumeId: string): Promise<void> {
    await rename(this.#path(volumeId), this.#mark(volumeId));
  }

  async wasLost(volumeId: string): Promise<boolean> {
    return stat(this.#mark(volumeId)).then(
      () => true,
      () => false,
    );
  }

  /** The volumes that have a file. */
  async list(): Promise<string[]> {
    return this.#named('.json');
  }

  /** The volumes that this node has lost, also those whose clean-up has not ended: they have a file, too. */
  async listLost(): Promise<string[]> {
    return this.#named('.lost');
  }

  /** Another volume that is staged here at the same address, if there is one: the address was reused. */
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

/** The owner that the lock of a staged volume names. */
export function ownerOf({ nodeName, nodeUID }: { nodeName: string; nodeUID: string }, staged: StagedVolume): LockOwner {
  return { node: nodeName, nodeUID: staged.nodeUID ?? nodeUID, volumeUID: staged.volumeUID };
}

/** How the data of a staged volume is encrypted. */
export function encryptionOf({ encrypted, authenticated }: StagedVolume): Encrypted {
  if (!encrypted) return {};
  return { encryption: authenticated ? 'LUKS2Authenticated' : 'LUKS2' };
}
