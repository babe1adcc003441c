import { stat } from 'node:fs/promises';
import type { AoEPool } from '../../api/pool.ts';
import type { Exec } from '../../run/exec.ts';
import type { Backend } from './backend.ts';
import { FileBackend } from './file/backend.ts';
import { Directories } from './file/directory-state.ts';
import type { FilePool } from './file/space.ts';
import type { HasDevice } from './lvm/base.ts';
import { LvmCli } from './lvm/command/cli.ts';
import { lvmConfig, udevReachable } from './lvm/command/config.ts';
import { LvmLinearBackend } from './lvm/linear.ts';
import { LvmThinBackend } from './lvm/thin.ts';
import { Wiper } from './lvm/wipe.ts';

export interface BackendRegistryOptions {
  lvm: LvmCli;
  wiper: Pick<Wiper, 'wipe' | 'zero'>;
  hasDevice: HasDevice;
  /** UIDs of the volumes whose data was made in this pool on this node. */
  expected: (pool: string) => Iterable<string>;
  /** Whether snapshots were taken in this pool on this node. */
  hasSnapshots?: (pool: string) => boolean;
  /** Directories of the node where disks for file pools are mounted. */
  mountPoints?: readonly string[];
  /** The other file pools of this node. */
  siblings?: (pool: string) => readonly FilePool[];
  directories?: Directories | undefined;
}

/** One backend per pool, replaced when the settings of the pool change. */
export class BackendRegistry {
  readonly #options: BackendRegistryOptions;
  readonly #directories: Directories;
  readonly #open = new Map<string, { key: string; backend: Backend }>();

  constructor(options: BackendRegistryOptions) {
    this.#options = options;
    this.#directories = options.directories ?? new Directories();
  }

  /** The backends of this machine. @param options see {@link BackendRegistryOptions} */
  static ofNode(
    run: Exec,
    options: Pick<BackendRegistryOptions, 'expected' | 'hasSnapshots' | 'mountPoints' | 'siblings' | 'directories'>,
  ): BackendRegistry {
    const lvm = new LvmCli(run, lvmConfig({ udev: udevReachable() }));
    return new BackendRegistry({ lvm, wiper: new Wiper(run), hasDevice, ...options });
  }

  /** The backend of a pool. */
  of(pool: AoEPool): Backend {
    const { name } = pool.metadata;
    const { backend: kind, volumeGroup, thinPool, directory, reserve, wipe, overprovision } = pool.spec;
    const key = JSON.stringify([kind, volumeGroup, thinPool, directory, reserve, wipe, overprovision]);
    const open = this.#open.get(name);
    if (open?.key === key) return open.backend;
    const backend = this.#make(pool);
    this.#open.set(name, { key, backend });
    return backend;
  }

  #make({ metadata: { name: pool }, spec }: AoEPool): Backend {
    const { lvm, wiper, hasDevice, expected, hasSnapshots = () => false, mountPoints = [], siblings = () => [] } = this.#options;
    const { volumeGroup: group = '', thinPool = '', directory = '', reserve } = spec;
    switch (spec.backend) {
      case 'lvm':
        return new LvmLinearBackend({ lvm, pool, group, hasDevice, wiper, wipeExtent: spec.wipe });
      case 'lvm-thin':
        return new LvmThinBackend({ lvm, pool, group, thinPool, hasDevice, wiper, overprovision: spec.overprovision });
      case 'file':
        return new FileBackend({
          ...{ pool, directory, reserve, mountPoints, state: this.#directories.of(directory), fs: this.#directories.fs },
          expected: () => expected(pool),
          hasSnapshots: () => hasSnapshots(pool),
          siblings: () => siblings(pool),
        });
    }
  }
}

async function hasDevice(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isBlockDevice();
  } catch {
    return false;
  }
}
