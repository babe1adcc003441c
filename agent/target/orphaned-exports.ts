import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { loop } from '../../run/loop.ts';
import type { TargetConnection } from './connection.ts';

const CHECK_EVERY_MS = 60_000;

export interface OrphanedExportsOptions {
  kube: Pick<Kube, 'list'>;
  /** The AoEVolumes of this node; synced. */
  volumes: Pick<Store<AoEVolume>, 'list'>;
  target: Pick<TargetConnection, 'connected' | 'states' | 'unexport'>;
  log: Logger;
}

/**
 * Takes an exported volume off the segment when its AoEVolume is gone: a user removed the finalizer, or deleted it while this node
 * was down. The volume must be found twice, and the API server itself must have no AoEVolume with its UID. The data stays.
 */
export class OrphanedExports {
  readonly #options: OrphanedExportsOptions;
  #suspects = new Set<string>();

  constructor(options: OrphanedExportsOptions) {
    this.#options = options;
  }

  /** Checks again and again, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = (error: unknown): void => this.#options.log.warn({ error }, 'search for exported volumes without an AoEVolume failed');
    await loop((stop) => this.check(stop), { everyMs: CHECK_EVERY_MS, signal, failed });
  }

  /**
   * Checks once.
   * @throws KubeError, TargetError
   */
  async check(signal: AbortSignal): Promise<void> {
    const { kube, volumes, target, log } = this.#options;
    if (!target.connected) return;
    const known = new Set(volumes.list().map(({ metadata }) => metadata.uid));
    const unknown = target
      .states()
      .map(({ volume }) => volume.uid)
      .filter((uid) => !known.has(uid));
    const confirmed = unknown.filter((uid) => this.#suspects.has(uid));
    this.#suspects = new Set(unknown);
    if (confirmed.length === 0) return;
    const { items } = await kube.list<AoEVolume>(AOE_VOLUMES, { signal });
    const existing = new Set(items.map(({ metadata }) => metadata.uid));
    for (const uid of confirmed.filter((each) => !existing.has(each))) {
      await target.unexport(uid, signal);
      log.warn({ uid }, 'an exported volume without an AoEVolume was taken off the segment');
    }
  }
}
