import type { BackingVolume, CreateRequest, Growth, Measurement } from '../backend.ts';
import { LvmBase, type LvmOptions, TAG_NEW } from './base.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import type { Wipe, WipeRange } from './wipe.ts';

/** Linear logical volumes in a volume group. Each is to be wiped before its first export: see `wiper` for how far that goes. */
export class LvmLinearBackend extends LvmBase {
  protected override readonly initialTags = [TAG_NEW];
  protected override readonly kind = { layout: ['linear'] };
  readonly growth: Growth;
  readonly #wipe: Wipe;

  constructor(options: LvmOptions & { wipe: Wipe; wipeRange: WipeRange }) {
    super(options);
    this.#wipe = options.wipe;
    this.growth = {
      grow: async (uid, bytes, signal) =>
        this.wipeGrown(await this.extend(uid, bytes, { marksNew: true }, signal), options.wipeRange, signal),
    };
  }

  protected override accepts({ pool, layout }: LogicalVolume): boolean {
    return pool === undefined && !layout.includes('pool');
  }

  protected override createArgs({ bytes }: CreateRequest): string[] {
    return ['--wipesignatures', 'y', '--zero', 'y', '--type', 'linear', '--size', sizeArg(bytes), this.group.name];
  }

  protected override async admit(): Promise<void> {
    // lvcreate itself knows best what is free.
  }

  wipe(uid: string, signal: AbortSignal): Promise<BackingVolume> {
    return this.wipeNew(uid, this.#wipe, signal);
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
