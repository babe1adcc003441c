import type { WipeExtent } from '../../../api/pool.ts';
import type { BackingVolume, CreateRequest, Growth, Measurement, Snapshots, WipeProgress } from '../backend.ts';
import { LvmBase, type LvmOptions } from './base.ts';
import { type HasModule, hasModule } from './kernel-module.ts';
import { checkMetadata, metadataProblem } from './metadata-area.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import { TAG_NEW } from './tags.ts';
import { LvmThickSnapshots } from './thick-snapshots.ts';
import type { Wiper } from './wipe.ts';

/** Linear logical volumes in a volume group. Each is to be wiped before its first export: see `Wiper` for how far that goes. */
export class LvmLinearBackend extends LvmBase {
  protected override readonly initialTags = [TAG_NEW];
  protected override readonly kind = { layout: ['linear'] };
  readonly growth: Growth;
  readonly snapshots: Snapshots;
  readonly #wiper: Pick<Wiper, 'wipe' | 'zero'>;
  readonly #wipeExtent: WipeExtent;

  /** @param options `wipeExtent`: how much of a new volume is wiped; Full when it is undefined */
  constructor(options: LvmOptions & { wiper: Pick<Wiper, 'wipe' | 'zero'>; wipeExtent?: WipeExtent | undefined; hasModule?: HasModule }) {
    super(options);
    this.snapshots = new LvmThickSnapshots({ group: this.group, pool: options.pool, hasModule: options.hasModule ?? hasModule });
    this.#wiper = options.wiper;
    this.#wipeExtent = options.wipeExtent ?? 'Full';
    this.growth = {
      grow: async (uid, bytes, signal) => {
        const extended = await this.extend(uid, bytes, { marksNew: true }, signal);
        return await this.zeroGrown(extended, this.#wiper, extended.bytes, signal);
      },
    };
  }

  protected override accepts({ pool, layout }: LogicalVolume): boolean {
    return pool === undefined && !layout.includes('pool');
  }

  protected override createArgs({ bytes }: CreateRequest): string[] {
    return ['--wipesignatures', 'y', '--zero', 'y', '--type', 'linear', '--size', sizeArg(bytes), this.group.name];
  }

  protected override async admit(_request: CreateRequest, signal: AbortSignal): Promise<void> {
    // lvcreate itself knows best which space is free.
    checkMetadata(await this.group.readInTurn(Number.POSITIVE_INFINITY, signal));
  }

  wipe(uid: string, signal: AbortSignal, onProgress?: (progress: WipeProgress) => void): Promise<BackingVolume> {
    const wipeExtent = this.#wipeExtent;
    return this.wipeNew(uid, (path, bytes, options) => this.#wiper.wipe(path, bytes, { ...options, wipeExtent }), { signal, onProgress });
  }

  protected override measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes' | 'tail'> {
    const { free, extent, missingDisks, name } = group;
    const size = free + ours.reduce((sum, { bytes }) => sum + bytes, 0);
    if (missingDisks > 0) {
      const message = `volume group ${name} lacks ${missingDisks} of its disks: bring them back, or see vgreduce(8)`;
      return { ready: false, message, size, free, granularity: extent };
    }
    const message = metadataProblem(group);
    const state = message === undefined ? { ready: true } : { ready: false, full: true as const, message };
    return { ...state, size, free, granularity: extent };
  }
}

/** LVM takes bytes only in whole sectors. */
export function sizeArg(bytes: number): string {
  return `${Math.ceil(bytes / 512) * 512}b`;
}
