import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileBackend } from '../backends/file/backend.ts';
import { DirectoryGates } from '../backends/file/directory-gates.ts';
import { Directories } from '../backends/file/directory-state.ts';
import { type FileSystem, nodeFileSystem } from '../backends/file/file-system.ts';

/** The real file system, whose calls on paths below some directories wait for a disk. */
export class HungFileSystem {
  readonly fs: FileSystem;
  /** Calls that wait, such as `unlink /pool/x`. */
  readonly waiting: string[] = [];
  #below: string[] = [];
  #released = Promise.withResolvers<void>();

  constructor() {
    const wrap =
      (name: string, call: (...args: never[]) => Promise<unknown>) =>
      async (...args: never[]) => {
        const path = String(args[0]);
        const isMountTable = name === 'isMountPoint' || name === 'mountedAt';
        if (!isMountTable && this.#below.some((each) => `${path}/`.startsWith(`${each}/`))) {
          this.waiting.push(`${name} ${path}`);
          await this.#released.promise;
        }
        return await call(...args);
      };
    const entries = Object.entries(nodeFileSystem).map(([name, call]) => [name, wrap(name, call as never)]);
    this.fs = Object.fromEntries(entries) as FileSystem;
  }

  /** From now on nothing below this path answers. */
  hang(path: string): void {
    this.#below.push(path);
  }

  /** The disks answer, also those that were asked meanwhile. */
  release(): void {
    this.#below = [];
    this.waiting.length = 0;
    this.#released.resolve();
    this.#released = Promise.withResolvers<void>();
  }
}

/** A file pool whose disk does not answer until it is released. `lateMs`: see GateLimits. */
export async function hungPool(pool: string, lateMs: number): Promise<{ backend: FileBackend; directory: string; disk: HungFileSystem }> {
  const directory = await mkdtemp(join(tmpdir(), 'aoe-hung-'));
  const disk = new HungFileSystem();
  disk.hang(directory);
  onTestFinished(async () => {
    disk.release();
    await rm(directory, { recursive: true, force: true });
  });
  const directories = new Directories({ fs: disk.fs, gates: new DirectoryGates({ lateMs, changeMs: lateMs, longMs: lateMs }) });
  const backend = new FileBackend({ pool, directory, expected: () => [], fs: directories.fs, state: directories.of(directory) });
  return { backend, directory, disk };
}
