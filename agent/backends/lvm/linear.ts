import type { BackingVolume, CreateRequest, Measurement } from '../backend.ts';
import { LvmBase, type LvmOptions } from './base.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import type { Wipe } from './wipe.ts';

/** Linear logical volumes in a volume group. Each is wiped before it is first served: see `wiper` for how far that goes. */
export class LvmLinearBackend extends LvmBase {
  readonly #wipe: Wipe;

  constructor(options: LvmOptions & { wipe: Wipe }) {
    super(options);
    this.#wipe = options.wipe;
  }

  protected override accepts({ pool, layout }: LogicalVolume): boolean {
    return pool === undefined && !layout.includes('pool');
  }

  protected override createArgs({ bytes }: CreateRequest): string[] {
    return ['--wipesignatures', 'y', '--zero', 'y', '--type', 'linear', '--size', sizeArg(bytes), this.group];
  }

  protected override async admit(): Promise<void> {
    // lvcreate itself knows best what is free.
  }

  protected override async clean({ bytes }: BackingVolume, path: string, signal: AbortSignal): Promise<void> {
    await this.#wipe(path, bytes, signal);
  }

  protected override measurement({ free, extent, missingDisks, name }: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes'> {
    const size = free + ours.reduce((sum, { bytes }) => sum + bytes, 0);
    if (missingDisks > 0) {
      const message = `volume group ${name} lacks ${missingDisks} of its disks: bring them back, or see vgreduce(8)`;
      return { ready: false, message, size, free, granularity: extent };
    }
    return { ready: true, size, free, granularity: extent };
  }
}

/** LVM takes bytes only in whole sectors. */
export function sizeArg(bytes: number): string {
  return `${Math.ceil(bytes / 512) * 512}b`;
}
