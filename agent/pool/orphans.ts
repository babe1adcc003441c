import type { BackingVolume } from '../backends/backend.ts';

/** How long a volume must have had no AoEVolume before it is called an orphan: a deletion under way takes less. */
export const SECOND_LOOK_MS = 10_000;

/** Finds backing volumes that no AoEVolume names, at the second look, so that none in the making or going is called one. */
export class Orphans {
  readonly #since = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * @param present our volumes in one pool, as just read
   * @param known whether there is an AoEVolume with this UID on this node; ask only once all are known
   * @returns those without one for long enough, and whether there are others to be looked at again
   */
  look(pool: string, present: readonly BackingVolume[], known: (uid: string) => boolean): { orphans: BackingVolume[]; again: boolean } {
    const now = this.#now();
    const suspects = present.filter(({ uid }) => !known(uid));
    const keys = new Set(suspects.map(({ uid }) => `${pool} ${uid}`));
    for (const key of this.#since.keys()) if (key.startsWith(`${pool} `) && !keys.has(key)) this.#since.delete(key);
    const orphans = suspects.filter(({ uid }) => {
      const key = `${pool} ${uid}`;
      const since = this.#since.get(key) ?? now;
      this.#since.set(key, since);
      return now - since >= SECOND_LOOK_MS;
    });
    return { orphans, again: orphans.length < suspects.length };
  }
}
