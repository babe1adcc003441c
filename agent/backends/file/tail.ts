import { join } from 'node:path';
import { type BackingVolume, checkUid } from '../backend.ts';
import { type FileSystem, failed, hasCode } from './file-system.ts';

/** Beside the file of a volume with a tail: how many of its bytes may be exported. */
const EXPORTED_SUFFIX = '.img.exported';

/** The small files that say how many bytes of volumes with a tail may be exported: the size of a file does not say that. */
export class FileTails {
  readonly #directory: string;
  readonly #fs: FileSystem;

  constructor(directory: string, fs: FileSystem) {
    this.#directory = directory;
    this.#fs = fs;
  }

  /** Bytes that may be exported of a file of this size, and its tail. 0 bytes when that cannot be read. @throws BackendError */
  async of(uid: string, size: number): Promise<Pick<BackingVolume, 'bytes' | 'extended' | 'tail'>> {
    const mark = await this.#read(uid);
    if (!mark) return { bytes: size };
    const { exported, tail } = mark;
    const most = size - tail;
    return { bytes: exported <= size ? exported : 0, tail, ...(exported < most ? { extended: most } : {}) };
  }

  /**
   * Notes durably how many bytes of a volume may be exported, and how many are its tail; 0 for none. The old note or the new one is there
   * after a crash.
   * @throws errors of the file system, BackendError
   */
  async note(uid: string, exported: number, tail: number): Promise<void> {
    // A volume of this UID may have been begun with a tail, when there was another target.
    if (tail === 0) return await this.forget(uid);
    const path = this.#path(uid);
    await this.#fs.write(`${path}.new`, `${exported} ${tail}\n`);
    await this.#fs.rename(`${path}.new`, path);
    await this.#fs.syncDirectory(this.#directory);
  }

  /** Forgets the note: all of the file may be exported. @throws BackendError */
  async forget(uid: string): Promise<void> {
    for (const path of [this.#path(uid), `${this.#path(uid)}.new`]) {
      try {
        await this.#fs.unlink(path);
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw failed(`removing ${path}`, error);
      }
    }
    await this.#fs.syncDirectory(this.#directory);
  }

  /**
   * Makes a file as large as what may be exported of it, before it belongs to an administrator: it is an image like any other then.
   * @throws BackendError
   */
  async cut(uid: string, path: string): Promise<void> {
    const mark = await this.#read(uid);
    if (!mark || mark.exported === 0) return;
    try {
      await this.#fs.shorten(path, mark.exported);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw failed(`taking the tail off ${path}`, error);
    }
  }

  async #read(uid: string): Promise<{ exported: number; tail: number } | undefined> {
    const path = this.#path(uid);
    try {
      const [exported = 0, tail = 0] = (await this.#fs.read(path)).trim().split(' ').map(Number);
      const isRead = Number.isSafeInteger(exported) && Number.isSafeInteger(tail) && exported > 0 && tail > 0;
      return isRead ? { exported, tail } : { exported: 0, tail: 0 };
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw failed(`reading ${path}`, error);
    }
  }

  #path(uid: string): string {
    return join(this.#directory, `${checkUid(uid)}${EXPORTED_SUFFIX}`);
  }
}
