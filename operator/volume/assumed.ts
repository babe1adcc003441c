import { isPlaced } from '../../api/capacity.ts';
import type { AoEVolume } from '../../api/volume.ts';

interface Assumption {
  readonly volume: AoEVolume;
  /** Whether the API server has answered that it is so. */
  readonly confirmed: boolean;
}

/** What this operator has placed but the watch has not told of yet: counted as placed, so that nothing is given twice. */
export class Assumed {
  readonly #placed = new Map<string, Assumption>();

  /** The volumes of the store, those placed here in their placed form. Forgets what the store has caught up with. */
  over(stored: readonly AoEVolume[]): AoEVolume[] {
    if (this.#placed.size === 0) return [...stored];
    const names = new Set(stored.map(({ metadata }) => metadata.name));
    for (const name of this.#placed.keys()) if (!names.has(name)) this.#placed.delete(name);
    return stored.map((volume) => {
      const { name, uid } = volume.metadata;
      const placed = this.#placed.get(name)?.volume;
      if (!placed) return volume;
      if (!isPlaced(volume) && placed.metadata.uid === uid) return placed;
      this.#placed.delete(name);
      return volume;
    });
  }

  /** The volume as it was placed here, once the API server has said so and while the watch has not. */
  confirmed({ metadata }: AoEVolume): AoEVolume | undefined {
    const entry = this.#placed.get(metadata.name);
    return entry?.confirmed && entry.volume.metadata.uid === metadata.uid ? entry.volume : undefined;
  }

  add(volume: AoEVolume, confirmed: boolean): void {
    this.#placed.set(volume.metadata.name, { volume, confirmed });
  }

  remove(name: string): void {
    this.#placed.delete(name);
  }
}
