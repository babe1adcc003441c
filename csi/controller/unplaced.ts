import type { AoEVolume } from '../../api/volume.ts';

/** For how long the nodes that could have a volume may be away before its claim is given back, in milliseconds: a reboot takes less. */
export const PATIENCE_MS = 5 * 60_000;

/**
 * Knows since when volumes have no place only because of what may end by itself. That is forgotten when the controller restarts: then it takes
 * a little longer.
 */
export class UnplacedVolumes {
  readonly #now: () => number;
  /** By name: which volume in which state of its spec, and since when. */
  readonly #since = new Map<string, { uid: string; segments: string; at: number }>();

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** @returns whether it has waited for too long on the same segments, at each look; then it begins again */
  look({ metadata: { name, uid = '' }, spec }: AoEVolume, isWaiting: boolean): boolean {
    if (!isWaiting) {
      this.#since.delete(name);
      return false;
    }
    const segments = JSON.stringify(spec.segments ?? []);
    const known = this.#since.get(name);
    const since = known?.uid === uid && known.segments === segments ? known : { uid, segments, at: this.#now() };
    const isTooLong = this.#now() - since.at >= PATIENCE_MS;
    if (isTooLong) this.#since.delete(name);
    else this.#since.set(name, since);
    return isTooLong;
  }
}
