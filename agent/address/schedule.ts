/** Waits after the first export of a volume, until its address is probed again: another target that answers late is found soon. */
const EARLY_MS = [1_000, 5_000] as const;
/** From then on: the time between two discoveries of the Linux driver (drivers/block/aoe/aoemain.c). */
const EVERY_MS = 60_000;
/** While another target answers. */
const CONFLICT_EVERY_MS = 30_000;
/** All waits differ by up to this share of them, so that neither volumes nor storage nodes probe in step. */
const JITTER = 0.25;
/** So many probes in a row find nobody before silence counts. */
const SILENT_PROBES = 4;

export interface AddressScheduleOptions {
  /** Milliseconds of a clock that does not jump. */
  now?: (() => number) | undefined;
  /** From 0 to 1. */
  random?: (() => number) | undefined;
}

/** When the address of one volume is to be probed again, and for how long nobody has answered there. */
export class AddressSchedule {
  readonly #now: () => number;
  readonly #random: () => number;
  #probes = 0;
  #silent = { probes: 0, since: 0 };
  #nextAt: number | undefined;

  constructor({ now = () => performance.now(), random = Math.random }: AddressScheduleOptions = {}) {
    this.#now = now;
    this.#random = random;
  }

  /** The volume was exported before this program began. Does nothing once the address was probed or this was called. */
  begin(): void {
    if (this.#nextAt === undefined) this.#schedule(false);
  }

  /** The volume is not exported: after its next export the address is probed soon again, however often it was probed before. */
  notExported(): void {
    this.#probes = 0;
  }

  /** The address was probed. `isSilent`: nobody answered, and this counts; undefined: this neither counts nor ends a silence. */
  probed({ conflict, isSilent }: { conflict: boolean; isSilent?: boolean | undefined }): void {
    if (conflict || isSilent === false) this.#silent = { probes: 0, since: 0 };
    else if (isSilent)
      this.#silent = { probes: this.#silent.probes + 1, since: this.#silent.probes > 0 ? this.#silent.since : this.#now() };
    this.#schedule(conflict);
  }

  /** For how many milliseconds no probe was answered; 0 while these were only a few. */
  get silentMs(): number {
    return this.#silent.probes < SILENT_PROBES ? 0 : this.#now() - this.#silent.since;
  }

  /** Whether an exported volume's address is to be probed now. */
  get isDue(): boolean {
    return this.#nextAt !== undefined && this.#nextAt <= this.#now();
  }

  /** Milliseconds until the next probe: at least 1. */
  get waitMs(): number {
    return Math.max(1, Math.ceil((this.#nextAt ?? this.#now()) - this.#now()));
  }

  #schedule(conflict: boolean): void {
    const interval = conflict ? CONFLICT_EVERY_MS : (EARLY_MS[this.#probes] ?? EVERY_MS);
    this.#probes++;
    this.#nextAt = this.#now() + interval * (1 + JITTER * (2 * this.#random() - 1));
  }
}
