import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { loop } from '../../run/loop.ts';
import type { TargetLink } from './connection.ts';

const LOOK_EVERY_MS = 60_000;

export interface StraysOptions {
  kube: Pick<Kube, 'list'>;
  /** The AoEVolumes of this node; synced. */
  volumes: Store<AoEVolume>;
  target: TargetLink;
  log: Logger;
}

/**
 * Stops serving volumes whose AoEVolume is gone: someone took the finalizer off, or it was deleted while this node was
 * down. Only at the second look, and only when the API server itself knows no AoEVolume with that UID. The data stays.
 */
export class Strays {
  readonly #options: StraysOptions;
  #suspects = new Set<string>();

  constructor(options: StraysOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const failed = (error: unknown): void => this.#options.log.warn({ error }, 'search for exported volumes without an AoEVolume failed');
    await loop((stop) => this.look(stop), { everyMs: LOOK_EVERY_MS, signal, failed });
  }

  async look(signal: AbortSignal): Promise<void> {
    const { kube, volumes, target, log } = this.#options;
    if (!target.connected) return;
    const known = new Set(volumes.list().map(({ metadata }) => metadata.uid));
    const unknown = target
      .states()
      .map(({ volume }) => volume.uid)
      .filter((uid) => !known.has(uid));
    const twice = unknown.filter((uid) => this.#suspects.has(uid));
    this.#suspects = new Set(unknown);
    if (twice.length === 0) return;
    const { items } = await kube.list<AoEVolume>(AOE_VOLUMES, { signal });
    const existing = new Set(items.map(({ metadata }) => metadata.uid));
    for (const uid of twice.filter((each) => !existing.has(each))) {
      await target.unexport(uid, signal);
      log.warn({ uid }, 'no AoEVolume names this volume: it is served no more');
    }
  }
}
