/** Times after the first export at which a volume's address is asked for again: a stranger that answers late is found soon. */
const EARLY_MS = [1_000, 5_000] as const;
/** From then on, about each minute: the time between two discoveries of the Linux driver (drivers/block/aoe/aoemain.c). */
const EVERY_MS = 60_000;
/** While somebody else answers. */
const CONFLICT_EVERY_MS = 30_000;
/** All intervals differ by up to this share, so that neither volumes nor storage nodes ask in step. */
const JITTER = 0.25;

interface Asked {
  /** How often since the export, or since this program saw the volume served. */
  times: number;
  conflict: boolean;
  nextAt: number;
}

/** When the address of each served volume is to be asked for again, by the volume's UID. Times are in milliseconds. */
export class AddressWatch {
  readonly #asked = new Map<string, Asked>();
  readonly #now: () => number;
  readonly #random: () => number;

  constructor({ now = () => performance.now(), random = Math.random }: { now?: () => number; random?: () => number } = {}) {
    this.#now = now;
    this.#random = random;
  }

  /** Whether a served volume's address is to be asked for now. One that is new here was served before this program began. */
  isDue(uid: string): boolean {
    const asked = this.#asked.get(uid) ?? this.#schedule(uid, { times: 0, conflict: false });
    return asked.nextAt <= this.#now();
  }

  /** The segment was asked. */
  note(uid: string, conflict: boolean): void {
    const times = this.#asked.get(uid)?.times ?? -1;
    this.#schedule(uid, { times: times + 1, conflict });
  }

  /** How long until the next question: at least 1 ms. */
  waitMs(uid: string): number {
    return Math.max(1, Math.ceil((this.#asked.get(uid)?.nextAt ?? this.#now()) - this.#now()));
  }

  forget(uid: string): void {
    this.#asked.delete(uid);
  }

  #schedule(uid: string, { times, conflict }: Pick<Asked, 'times' | 'conflict'>): Asked {
    const interval = conflict ? CONFLICT_EVERY_MS : (EARLY_MS[times] ?? EVERY_MS);
    const nextAt = this.#now() + interval * (1 + JITTER * (2 * this.#random() - 1));
    const asked = { times, conflict, nextAt };
    this.#asked.set(uid, asked);
    return asked;
  }
}
