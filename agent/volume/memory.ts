import { AddressSchedule, type AddressScheduleOptions } from '../address/schedule.ts';
import { Job } from '../jobs/job.ts';
import { REMOVAL_MS } from '../jobs/removal-ms.ts';
import type { DataResult } from './data.ts';
import type { RemovalWait } from './removal.ts';
import { WipeMeter } from './wipe-meter.ts';

/** A volume in trouble is opened again at most this often: each attempt is a change of its own, which leads to a reconcile. */
const REOPEN_EVERY_MS = 5_000;
/** Zeroing all of a large volume takes a day and more; every step of it has a limit of its own. */
const DATA_LIMIT_MS = 14 * 24 * 60 * 60_000;

/** What the agent remembers of one volume between reconciles. */
export class VolumeMemory {
  /** Name of the AoEVolume. */
  readonly name: string;
  readonly addressSchedule: AddressSchedule;
  /** Opening or making the data. */
  readonly data: Job<{ data: DataResult; moves: number }>;
  /** Removing the data, or giving it back. The outcome says why that is not done; undefined: it is done. */
  readonly removal: Job<RemovalWait | undefined>;
  readonly wipe = new WipeMeter();
  /** MAC addresses that spec.initiators.macs has named so far, in lower case. */
  readonly namedMacs = new Set<string>();
  #growth = new AbortController();
  #reopenedAt = Number.NEGATIVE_INFINITY;

  constructor(name: string, { signal, schedule }: VolumeMemoriesOptions) {
    this.name = name;
    this.addressSchedule = new AddressSchedule(schedule);
    this.data = new Job({ signal, limitMs: DATA_LIMIT_MS });
    this.removal = new Job({ signal, limitMs: REMOVAL_MS.limit });
  }

  /** For growth of the data that begins now: aborted by {@link stopGrowth}. */
  beginGrowth(): AbortSignal {
    this.#growth = new AbortController();
    return this.#growth.signal;
  }

  /** Ends the growth of the data that is under way. */
  stopGrowth(reason: Error): void {
    this.#growth.abort(reason);
  }

  /** Whether the data is being opened, made or removed. */
  get isBusy(): boolean {
    return this.data.isBusy || this.removal.isBusy;
  }

  /** Whether the target may be asked now to open the disk again. */
  get isReopenDue(): boolean {
    return performance.now() - this.#reopenedAt >= REOPEN_EVERY_MS;
  }

  /** The target was asked to open the disk again. */
  reopened(): void {
    this.#reopenedAt = performance.now();
  }
}

export interface VolumeMemoriesOptions {
  /** Ends the work on data. */
  signal: AbortSignal;
  schedule?: AddressScheduleOptions | undefined;
}

/** What the agent remembers of its volumes, by metadata.uid. */
export class VolumeMemories {
  readonly #options: VolumeMemoriesOptions;
  readonly #memories = new Map<string, VolumeMemory>();
  /** UIDs of remembered volumes by name: more than one only while data of an earlier volume is worked on. */
  readonly #uids = new Map<string, Set<string>>();

  constructor(options: VolumeMemoriesOptions) {
    this.#options = options;
  }

  /** The memory of this volume; a new one begins empty. */
  of(uid: string, name: string): VolumeMemory {
    const memory = this.#memories.get(uid) ?? new VolumeMemory(name, this.#options);
    this.#memories.set(uid, memory);
    this.#uids.set(name, (this.#uids.get(name) ?? new Set<string>()).add(uid));
    return memory;
  }

  /** Forgets a volume that is gone. */
  forget(uid: string): void {
    const { name = '' } = this.#memories.get(uid) ?? {};
    this.#memories.delete(uid);
    const uids = this.#uids.get(name);
    uids?.delete(uid);
    if (uids?.size === 0) this.#uids.delete(name);
  }

  /** Forgets all volumes of this name but the one that has it now. A volume stays while its data is being opened, made or removed. */
  forgetName(name: string, { except }: { except?: string | undefined } = {}): void {
    for (const uid of [...(this.#uids.get(name) ?? [])]) if (uid !== except && this.#memories.get(uid)?.isBusy !== true) this.forget(uid);
  }

  /** Fulfilled when no data is being opened, made or removed. */
  async idle(): Promise<void> {
    await Promise.all([...this.#memories.values()].flatMap(({ data, removal }) => [data.idle(), removal.idle()]));
  }
}
