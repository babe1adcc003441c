import type { AoEVolume } from '../../api/volume.ts';
import type { Result, Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { type CopierApi, CopierError } from './api.ts';
import { volumeOfJob } from './job-id.ts';

const CHECK_EVERY_MS = 10 * 60_000;
const AWAY_RETRY_MS = 30_000;

export interface StaleJobsOptions {
  copier: Pick<CopierApi, 'list' | 'remove'>;
  /** The AoEVolumes of this node; synced. */
  volumes: Pick<Store<AoEVolume>, 'list'>;
  log: Logger;
}

/** Forgets jobs of the copier that no AoEVolume of this node needs: its copy is whole, or it was deleted while the copier was away. */
export class StaleJobs {
  readonly #options: StaleJobsOptions;

  constructor(options: StaleJobsOptions) {
    this.#options = options;
  }

  /** Checks once: for kube's Controller. */
  async reconcile(signal: AbortSignal): Promise<Result> {
    const { copier, volumes, log } = this.#options;
    try {
      for (const { id } of await copier.list(signal)) {
        const isNeeded = volumes.list().some((volume) => volume.metadata.uid === volumeOfJob(id) && isUnderWay(volume));
        if (isNeeded) continue;
        await copier.remove(id, signal);
        log.info({ job: id }, 'job of the copier that nobody needs was removed');
      }
      return { requeueAfterMs: CHECK_EVERY_MS };
    } catch (error) {
      if (!(error instanceof CopierError)) throw error;
      return { requeueAfterMs: AWAY_RETRY_MS };
    }
  }
}

function isUnderWay({ metadata, spec, status }: AoEVolume): boolean {
  return spec.source !== undefined && status?.capacity === undefined && !metadata.deletionTimestamp;
}
