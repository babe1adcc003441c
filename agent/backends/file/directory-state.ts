import { resolve } from 'node:path';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Serial } from '../backend.ts';
import { DirectoryGates } from './directory-gates.ts';
import { type FileSystem, nodeFileSystem } from './file-system.ts';
import { UnsharedBytes } from './unshared-bytes.ts';

/** How many removed volumes are remembered before those without an AoEVolume are forgotten. */
const FORGET_AT = 256;

/**
 * What all backends of one directory share. A change of the pool's settings makes a new backend, while what was begun with the one before
 * still runs.
 */
export class DirectoryState {
  /** What files of this directory and of others have of their own. */
  readonly unshared: UnsharedBytes;
  readonly #turns = new Semaphore(1);
  /** Lets one snapshot be taken at a time, and no volume grow meanwhile. Nobody waits for a turn behind what hangs. */
  readonly serial: Serial;
  /** UIDs of volumes that this process removed or retained, whose AoEVolumes may still exist: they are not expected any more. */
  readonly #gone = new Set<string>();

  /** @param check @throws BackendError while the directory does not answer */
  constructor(unshared: UnsharedBytes, check: () => void = () => {}) {
    this.unshared = unshared;
    const turn: Serial['turn'] = async (task, signal) => {
      check();
      return await this.#turns.run(task, signal);
    };
    this.serial = { turn };
  }

  /** Whether a volume is not expected any more. */
  isGone(uid: string): boolean {
    return this.#gone.has(uid);
  }

  /** A volume is not expected any more. @param path its file; @param expected the UIDs of all that have an AoEVolume */
  noteGone(uid: string, path: string, expected: () => Iterable<string>): void {
    this.unshared.forget(path);
    this.#gone.add(uid);
    if (this.#gone.size < FORGET_AT) return;
    const known = new Set(expected());
    for (const each of this.#gone) if (!known.has(each)) this.#gone.delete(each);
  }
}

export interface DirectoriesOptions {
  fs?: FileSystem;
  gates?: DirectoryGates;
  /** A clock in ms, for counts of blocks. */
  now?: () => number;
}

/** The state of each directory on this node that is, or was, the one of a pool. */
export class Directories {
  /** What backends of these directories use. */
  readonly fs: FileSystem;
  readonly #gates: DirectoryGates;
  readonly #unshared: UnsharedBytes;
  readonly #states = new Map<string, DirectoryState>();

  constructor({ fs = nodeFileSystem, gates = new DirectoryGates(), now }: DirectoriesOptions = {}) {
    this.fs = gates.guard(fs);
    this.#gates = gates;
    this.#unshared = new UnsharedBytes(this.fs, now && { now });
  }

  of(directory: string): DirectoryState {
    // A slash at the end makes no other directory.
    const path = resolve(directory);
    const state = this.#states.get(path) ?? new DirectoryState(this.#unshared, () => this.#gates.check(path));
    this.#states.set(path, state);
    return state;
  }
}
