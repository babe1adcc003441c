import type { AoEVolume } from '../../api/volume.ts';

/** For how long the nodes that could have a volume may be away before its claim is given back, in milliseconds: a reboot takes less. */
export const PATIENCE_MS = 5 * 60_000;

/**
 * Knows since when volumes have no place only because of what may end by itself. That is forgotten when the controller restarts: then it takes
 * a little longer.
 */
export class UnplacedVolumes {
  readonly #now: () => number;
  /** By name: which volume in which state of its spec, and since when. A caller asks until its volume has a place, or is gone. */
  readonly #since = new Map<string, { uid: string; segments: string; at: number }>();

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** @returns whether it has waited for too long, at each look and all of the time on the same segments */
  look({ metadata: { name, uid = '' }, spec }: AoEVolume, isWaiting: boolean): boolean {
    if (!isWaiting) {
      this.#since.delete(name);
      return false;
    }
    const segments = JSON.stringify(spec.segments ?? []);
    const known = this.#since.get(name);
    const since = known?.uid === uid && known.segments === segments ? known : { uid, segments, at: this.#now() };
    this.#since.set(name, since);
    return this.#now() - since.at >= PATIENCE_MS;
  }
}
