import type { BackingVolume } from '../backends/backend.ts';

/** How long a backing volume must have been without an AoEVolume to count as an orphan: a deletion under way takes less time. */
export const CONFIRM_AFTER_MS = 10_000;

/** Finds backing volumes that no AoEVolume names. Each is a suspect first, so that none that is being made or removed is reported. */
export class Orphans {
  /** When each suspect was first seen, by pool and UID. */
  readonly #since = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * @param present the backing volumes of AoEVolumes in one pool, as just measured
   * @param known whether an AoEVolume with this UID exists on this node; ask only once all of them are known
   * @returns the orphans, and whether there are suspects to check again after CONFIRM_AFTER_MS
   */
  check<T extends Pick<BackingVolume, 'uid'>>(
    pool: string,
    present: readonly T[],
    known: (uid: string) => boolean,
  ): { orphans: T[]; hasSuspects: boolean } {
    const now = this.#now();
    const suspects = present.filter(({ uid }) => !known(uid));
    const keys = new Set(suspects.map(({ uid }) => `${pool} ${uid}`));
    for (const key of this.#since.keys()) if (key.startsWith(`${pool} `) && !keys.has(key)) this.#since.delete(key);
    for (const key of keys) if (!this.#since.has(key)) this.#since.set(key, now);
    const orphans = suspects.filter(({ uid }) => now - (this.#since.get(`${pool} ${uid}`) ?? now) >= CONFIRM_AFTER_MS);
    return { orphans, hasSuspects: orphans.length < suspects.length };
  }
}
