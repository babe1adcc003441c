import type { AoEVolume } from '../api/volume.ts';

/** What this operator has placed but the watch has not told of yet: counted as placed, so that nothing is given twice. */
export class Assumed {
  readonly #placed = new Map<string, AoEVolume>();

  /** The volumes of the store, those placed here in their placed form. Forgets what the store has caught up with. */
  over(stored: readonly AoEVolume[]): AoEVolume[] {
    const names = new Set(stored.map(({ metadata }) => metadata.name));
    for (const name of this.#placed.keys()) if (!names.has(name)) this.#placed.delete(name);
    return stored.map((volume) => {
      const placed = this.#placed.get(volume.metadata.name);
      if (!placed || placed.metadata.uid !== volume.metadata.uid) return volume;
      if (!volume.spec.nodeName) return placed;
      this.#placed.delete(volume.metadata.name);
      return volume;
    });
  }

  add(volume: AoEVolume): void {
    this.#placed.set(volume.metadata.name, volume);
  }

  remove(name: string): void {
    this.#placed.delete(name);
  }
}
