import { BackendError, type BackingVolume, type CreateRequest, type Growth, type Measurement, roundUp } from '../backend.ts';
import { LvmBase, type LvmOptions } from './base.ts';
import { sizeArg } from './linear.ts';
import { metadataProblem } from './metadata-area.ts';
import type { LogicalVolume, VolumeGroup } from './report.ts';
import { isSnapshot } from './snapshot-names.ts';
import { cleanBytes, tailFor } from './tail.ts';
import { LvmThinSnapshots, PERCENT_ERROR, reservedBytes } from './thin-snapshots.ts';
import type { Wiper } from './wipe.ts';

/**
 * Above these, no new volume is made: a full thin pool fails the writes of every volume in it, and full metadata may need repair. Data that
 * was promised in full may fill the thin pool, since then nothing is left to fail.
 */
const MAX_DATA_PERCENT = 95;
const MAX_METADATA_PERCENT = 90;
/** The same where more is promised than there is: existing volumes need what is left, until a person extends the thin pool. */
const MAX_OVERPROVISIONED_DATA_PERCENT = 80;
/** Bytes of metadata that a block may take: the guide in the kernel's Documentation/admin-guide/device-mapper/thin-provisioning.rst. */
const METADATA_PER_BLOCK = 48;
/** Chunks that the target gives back (target/src/disk/reclaim.rs): others it leaves as they are, and does not say so. */
const LARGEST_RECLAIMED_CHUNK = 16 * 2 ** 20;
const SMALLEST_RECLAIMED_CHUNK = 4096;
/** How old a report may be that a new volume is admitted on: how full the thin pool is changes with every write. */
const RECENT_MS = 5_000;

/**
 * Thin volumes in a thin pool. Their full sizes are reserved: the sum of them stays below the size of the pool, or below what the AoEPool's
 * overprovision makes of it.
 */
export class LvmThinBackend extends LvmBase {
  protected override readonly kind: { layout: string[]; pool: string };
  readonly snapshots: LvmThinSnapshots;
  readonly #thinPool: string;
  /** How much is promised at most, in percent of the thin pool; 100 or more. */
  readonly #promisePercent: number;
  readonly #wiper: Pick<Wiper, 'zero'>;
  readonly growth: Growth = {
    grow: async (uid, bytes, signal) => await this.#clean(await this.extend(uid, bytes, { marksNew: false }, signal), signal),
  };

  /** @param options `overprovision`: spec.overprovision of the AoEPool, such as `200%`; 100% when it is undefined */
  constructor(options: LvmOptions & { thinPool: string; wiper: Pick<Wiper, 'zero'>; overprovision?: string | undefined }) {
    super(options);
    const { pool, thinPool, overprovision } = options;
    this.#promisePercent = Number.parseInt(overprovision ?? '100%', 10);
    const admit = (group: VolumeGroup, bytes: number): void => this.#admit(group, bytes);
    const admitSnapshot = (group: VolumeGroup, bytes: number): void => {
      this.#admit(group, bytes);
      this.#admitMetadata(group, bytes);
    };
    const finish = async (uid: string, signal: AbortSignal): Promise<void> => {
      await this.#clean(await this.active(uid, signal), signal);
    };
    this.snapshots = new LvmThinSnapshots({ group: this.group, pool, thinPool, admit, admitSnapshot, finish });
    this.#wiper = options.wiper;
    this.#thinPool = options.thinPool;
    this.kind = { layout: ['thin', 'sparse'], pool: options.thinPool };
  }

  /**
   * Not when the pool hands out blocks with old data in them, since a block that was given back would show it. Nor when the disk below is told
   * of discards: dm-thin tells it before it has noted that durably itself, so that after a loss of power the block may be the volume's again,
   * and hold what the disk makes of it (drivers/md/dm-thin.c, process_prepared_discard_passdown_pt1). Nor with chunks that the target leaves alone.
   */
  get reclaims(): boolean {
    const pool = this.group.lastReported(this.#thinPool);
    return pool?.zeroes === true && pool.discards === 'nopassdown' && isReclaimed(pool.chunk);
  }

  /** Zeroes an old tail, where there is one: what is behind it was never written. */
  async #clean(volume: LogicalVolume, signal: AbortSignal): Promise<BackingVolume> {
    const { extent } = await this.group.read(Number.POSITIVE_INFINITY, signal);
    const to = Math.min(volume.bytes, cleanBytes(volume) + tailFor({ extent }));
    return await this.zeroGrown(volume, this.#wiper, to, signal);
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
    if (!ready) throw new BackendError(this.#fullness(group) ? 'PoolFull' : 'PoolNotReady', message ?? `${pool} is not ready`);
    if (free < bytes) {
      throw new BackendError('PoolFull', `${pool} has ${free} bytes that are not promised to a volume, and ${bytes} are needed`);
    }
  }

  /**
   * Refuses a snapshot when the metadata could fill: each block that is written while a snapshot keeps its old content takes room there.
   * @throws BackendError
   */
  #admitMetadata(group: VolumeGroup, bytes: number): void {
    const { metadataBytes, chunk, metadataPercent } = this.#poolOf(group) ?? {};
    if (!metadataBytes || !chunk) return;
    const kept = group.volumes.filter((volume) => volume.pool === this.#thinPool && isSnapshot(volume));
    const blocks = [bytes, ...kept.map(reservedBytes)].reduce((sum, each) => sum + Math.ceil(each / chunk), 0);
    const needed = blocks * METADATA_PER_BLOCK;
    const free = Math.floor((metadataBytes * (MAX_METADATA_PERCENT - Number(metadataPercent ?? 0))) / 100);
    if (needed <= free) return;
    const name = `${group.name}/${this.#thinPool}`;
    const message = `the metadata of thin pool ${name} has ${metadataBytes} bytes, of which ${free} are left, and snapshots may need ${needed}: extend it (lvextend --poolmetadatasize +SIZE ${name})`;
    throw new BackendError('PoolFull', message);
  }

  #poolOf(group: VolumeGroup): LogicalVolume | undefined {
    return group.volumes.find((volume) => volume.name === this.#thinPool && volume.layout.includes('pool'));
  }

  protected override measurement(group: VolumeGroup, ours: LogicalVolume[]): Omit<Measurement, 'volumes' | 'tail'> {
    const name = `${group.name}/${this.#thinPool}`;
    const pool = this.#poolOf(group);
    if (!pool) {
      const message = `thin pool ${name} is not on this node: create it (lvcreate --type thin-pool -L SIZE -n ${this.#thinPool} ${group.name})`;
      return { ready: false, message, size: 0, free: 0, granularity: group.extent };
    }
    const promised = ours.reduce((sum, { bytes }) => sum + bytes, 0);
    const names = new Set(ours.map((volume) => volume.name));
    const others = group.volumes.filter((volume) => volume.pool === this.#thinPool && !names.has(volume.name));
    const promisable = Math.floor((pool.bytes * this.#promisePercent) / 100);
    const size = Math.max(0, promisable - others.reduce((sum, volume) => sum + reservedBytes(volume), 0));
    const [fullness, damage] = [this.#fullness(group), this.#damage(group)];
    const message = fullness ?? damage;
    return {
      ready: message === undefined,
      ...(fullness !== undefined && damage === undefined ? { full: true as const } : {}),
      message:
        message ??
        (pool.zeroes
          ? undefined
          : `${name} does not zero new blocks (lvchange -Z y ${name}): old data may show through, also where zeros were given back`),
      size,
      free: Math.max(0, size - promised),
      granularity: group.extent,
      canFill: this.#canFill(group),
      dataPercent: pool.dataPercent,
      metadataPercent: pool.metadataPercent,
    };
  }

  /** What is nearly full, and what to do. */
  #fullness(group: VolumeGroup): string | undefined {
    const problem = metadataProblem(group);
    if (problem !== undefined) return problem;
    const { metadataPercent, dataPercent } = this.#poolOf(group) ?? {};
    const name = `${group.name}/${this.#thinPool}`;
    if (Number(metadataPercent ?? 0) >= MAX_METADATA_PERCENT) {
      return `metadata of thin pool ${name} is ${metadataPercent}% full: extend it (lvextend --poolmetadatasize +SIZE ${name})`;
    }
    const isOverprovisioned = this.#promisePercent > 100;
    const most = isOverprovisioned ? MAX_OVERPROVISIONED_DATA_PERCENT : MAX_DATA_PERCENT;
    if (Number(dataPercent ?? 0) >= most && (isOverprovisioned || this.#canFill(group))) {
      return `thin pool ${name} is ${dataPercent}% full: extend it (lvextend -L +SIZE ${name}), or remove volumes`;
    }
    return undefined;
  }

  /**
   * Whether writes can fill the thin pool without a new volume: its volumes and snapshots can come to take more blocks than it has, or more
   * are in use than they account for.
   */
  #canFill(group: VolumeGroup): boolean {
    const { bytes = 0, chunk, dataPercent } = this.#poolOf(group) ?? {};
    const volumes = group.volumes.filter(({ pool }) => pool === this.#thinPool);
    const promised = volumes.reduce((sum, volume) => sum + roundUp(reservedBytes(volume), chunk || 1), 0);
    const used = (bytes * (Number(dataPercent ?? 0) - PERCENT_ERROR)) / 100;
    return promised > bytes || used > promised;
  }

  #damage(group: VolumeGroup): string | undefined {
    const name = `${group.name}/${this.#thinPool}`;
    const health = this.#poolOf(group)?.health;
    if (health) return `thin pool ${name} is ${health}: see lvmthin(7), "check and repair"`;
    return group.missingDisks > 0 ? `volume group ${group.name} lacks disks` : undefined;
  }
}

function isReclaimed(chunk: number | undefined): boolean {
  if (chunk === undefined || chunk < SMALLEST_RECLAIMED_CHUNK || chunk > LARGEST_RECLAIMED_CHUNK) return false;
  return Number.isInteger(Math.log2(chunk));
}
