import { type AoESnapshot, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoEVolume, isCopiedAway } from '../../api/volume.ts';
import type { Result, Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { type CopierApi, CopierError } from './api.ts';
import { ownerOfJob } from './job-id.ts';

const CHECK_EVERY_MS = 10 * 60_000;
const AWAY_RETRY_MS = 30_000;

export interface StaleJobsOptions {
  copier: Pick<CopierApi, 'list' | 'remove'>;
  /** The AoEVolumes of this node; synced. */
  volumes: Pick<Store<AoEVolume>, 'list'>;
  /** The AoESnapshots of the cluster; synced. */
  snapshots: Pick<Store<AoESnapshot>, 'list'>;
  /** The AoEVolumes whose spec.move names this node; synced. */
  moves?: Pick<Store<AoEVolume>, 'list'>;
  log: Logger;
}

/** Forgets jobs of the copier that no AoEVolume or AoESnapshot needs: its copy is whole, or it was deleted while the copier was away. */
export class StaleJobs {
  readonly #options: StaleJobsOptions;

  constructor(options: StaleJobsOptions) {
    this.#options = options;
  }

  /** Checks once: for kube's Controller. */
  async reconcile(signal: AbortSignal): Promise<Result> {
    const { copier, volumes, snapshots, moves, log } = this.#options;
    let isLeft = false;
    try {
      for (const { id } of await copier.list(signal)) {
        const uid = ownerOfJob(id);
        const isIt = ({ metadata }: AoEVolume): boolean => metadata.uid === uid;
        const isNeeded =
          volumes.list().some((volume) => isIt(volume) && isUnderWay(volume)) ||
          snapshots.list().some((snapshot) => snapshot.metadata.uid === uid && mayNeed(snapshot)) ||
          moves?.list().some((volume) => isIt(volume) && isCopiedAway(volume));
        if (isNeeded) continue;
        try {
          await copier.remove(id, signal);
        } catch (error) {
          // Its disk hangs: others can be removed nevertheless.
          if (!(error instanceof CopierError) || error.reason === 'unavailable') throw error;
          log.warn({ job: id, detail: error.message }, 'job of the copier that nobody needs cannot be removed yet');
          isLeft = true;
          continue;
        }
        log.info({ job: id }, 'job of the copier that nobody needs was removed');
      }
      return { requeueAfterMs: isLeft ? AWAY_RETRY_MS : CHECK_EVERY_MS };
    } catch (error) {
      if (!(error instanceof CopierError)) throw error;
      return { requeueAfterMs: AWAY_RETRY_MS };
    }
  }
}

function isUnderWay({ metadata, spec, status }: AoEVolume): boolean {
  return spec.source !== undefined && status?.capacity === undefined && !metadata.deletionTimestamp;
}

/** Any other reason than SnapshotLost may be one of the moment, such as a backend that fails; without a report it may just have begun. */
function mayNeed({ status }: AoESnapshot): boolean {
  const taken = status?.conditions?.find(({ type }) => type === SnapshotCondition.Taken);
  return taken?.status !== 'True' && taken?.reason !== 'SnapshotLost';
}
