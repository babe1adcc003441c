import { BackendError, type CreateRequest, type Growth, type Measurement, type Snapshots } from '../backend.ts';
import { LvmBase, type LvmOptions } from './base.ts';
import { sizeArg } from './linear.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import { LvmThinSnapshots, reservedBytes } from './thin-snapshots.ts';

/** Above these, no new volume is made: a full thin pool fails the writes of every volume in it, and full metadata may need repair. */
const MAX_DATA_PERCENT = 95;
const MAX_METADATA_PERCENT = 90;
/** How old a report may be that a new volume is admitted on: how full the thin pool is changes with every write. */
const RECENT_MS = 5_000;

/** Thin volumes in a thin pool. Their full sizes are reserved: the sum of them stays below the size of the pool. */
export class LvmThinBackend extends LvmBase {
  protected override readonly kind: { layout: string[]; pool: string };
  readonly snapshots: Snapshots;
  readonly #thinPool: string;
  readonly growth: Growth = {
    grow: async (uid, bytes, signal) => this.backing(await this.extend(uid, bytes, { marksNew: false }, signal)),
  };

  constructor(options: LvmOptions & { thinPool: string }) {
    super(options);
    const { pool, thinPool } = options;
    this.snapshots = new LvmThinSnapshots({ group: this.group, pool, thinPool, admit: (group, bytes) => this.#admit(group, bytes) });
    this.#thinPool = options.thinPool;
    this.kind = { layout: ['thin', 'sparse'], pool: options.thinPool };
  }

  protected override accepts({ pool }: LogicalVolume): boolean {
    return pool === this.#thinPool;
  }

  protected override createArgs({ bytes }: CreateRequest): string[] {
    // Blocks that were never written read as zeros: there is nothing to wipe, and a wipe would only allocate blocks.
    return ['--wipesignatures', 'n', '--type', 'thin', '--thinpool', this.#thinPool, '--virtualsize', sizeArg(bytes), this.group.name];
  }

  protected override async admit({ bytes }: CreateRequest, signal: AbortSignal): Promise<void> {
    this.#admit(await this.group.readInTurn(RECENT_MS, signal), bytes);
  }

  /** @throws BackendError when the thin pool is not ready, or does not have so many bytes that are not promised */
  #admit(group: VolumeGroup, bytes: number): void {
    const { ready, free, message } = this.measurement(group, this.ours(group));
    const pool = `thin pool ${this.group.pathOf(this.#thinPool)}`;
    if (!ready) throw new BackendError('PoolNotReady', message ?? `${pool} is not ready`);
    if (free < bytes) {
      throw new BackendError('PoolFull', `${pool} has ${free} bytes that are not promised to a volume, and ${bytes} are needed`);
    }
  }

  protected override measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes'> {
    const name = `${group.name}/${this.#thinPool}`;
    const pool = group.volumes.find((volume) => volume.name === this.#thinPool && volume.layout.includes('pool'));
    if (!pool) {
      const message = `thin pool ${name} is not on this node: create it (lvcreate --type thin-pool -L SIZE -n ${this.#thinPool} ${group.name})`;
      return { ready: false, message, size: 0, free: 0, granularity: group.extent };
    }
    const promised = ours.reduce((sum, { bytes }) => sum + bytes, 0);
    const names = new Set(ours.map((volume) => volume.name));
    const foreign = group.volumes.filter((volume) => volume.pool === this.#thinPool && !names.has(volume.name));
    const size = Math.max(0, pool.bytes - foreign.reduce((sum, volume) => sum + reservedBytes(volume), 0));
    const message = this.#complaint(name, pool) ?? (group.missingDisks > 0 ? `volume group ${group.name} lacks disks` : undefined);
    return {
      ready: message === undefined,
      message: message ?? (pool.zeroes ? undefined : `${name} does not zero new blocks (lvchange -Z y ${name}): old data may show through`),
      size,
      free: Math.max(0, size - promised),
      granularity: group.extent,
      dataPercent: pool.dataPercent,
      metadataPercent: pool.metadataPercent,
    };
  }

  #complaint(name: string, pool: LogicalVolume): string | undefined {
    if (Number(pool.metadataPercent ?? 0) >= MAX_METADATA_PERCENT) {
      return `metadata of thin pool ${name} is ${pool.metadataPercent}% full: extend it (lvextend --poolmetadatasize +SIZE ${name})`;
    }
    if (Number(pool.dataPercent ?? 0) >= MAX_DATA_PERCENT) {
      return `thin pool ${name} is ${pool.dataPercent}% full: extend it (lvextend -L +SIZE ${name}), or remove volumes`;
    }
    if (pool.health) return `thin pool ${name} is ${pool.health}: see lvmthin(7), "check and repair"`;
    return undefined;
  }
}
