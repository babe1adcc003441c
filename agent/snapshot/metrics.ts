import type { AoESnapshot } from '../../api/snapshot.ts';
import type { Store } from '../../kube/mod.ts';
import { type Collect, gauge } from '../../run/metrics.ts';
import type { CopierApi, CopyState } from '../copier/api.ts';
import { ownerOfJob } from '../copier/job-id.ts';

const LABELS = ['snapshot', 'phase'] as const;
/** For the copier's answer. Prometheus waits 10 s for all metrics together. */
const LIMIT_MS = 3_000;

/** Progress of the copies that make snapshots of this node whole, for metrics: as the copier reports it at each scrape. */
export class SnapshotMetrics {
  readonly #copier: Pick<CopierApi, 'list'>;
  readonly #snapshots: Pick<Store<AoESnapshot>, 'list'>;
  readonly #signal: AbortSignal;
  #request: Promise<CopyState[]> | undefined;

  constructor(copier: Pick<CopierApi, 'list'>, snapshots: Pick<Store<AoESnapshot>, 'list'>, signal: AbortSignal) {
    this.#copier = copier;
    this.#snapshots = snapshots;
    this.#signal = signal;
  }

  /** Registers the gauges: once in a process. */
  register(): void {
    const of = (value: (state: CopyState) => number): Collect<(typeof LABELS)[number]> => {
      return async (set) => {
        const states = await this.#states();
        const names = new Map(this.#snapshots.list().map(({ metadata }) => [metadata.uid ?? '', metadata.name]));
        for (const state of states) {
          const snapshot = names.get(ownerOfJob(state.id));
          if (snapshot !== undefined) set({ snapshot, phase: phaseOf(state) }, value(state));
        }
      };
    };
    const done = of((state) => (phaseOf(state) === 'Verifying' ? state.verified : state.copied));
    const size = of(({ bytes }) => bytes);
    gauge('aoe_agent_snapshot_copy_done_bytes', 'Bytes of a snapshot that are copied, or in phase Verifying compared.', LABELS, done);
    gauge('aoe_agent_snapshot_copy_size_bytes', 'Bytes of a snapshot that are to be copied.', LABELS, size);
  }

  /** The copier's jobs, none when it is away: one call for both gauges of a scrape. */
  #states(): Promise<CopyState[]> {
    this.#request ??= this.#copier
      .list(AbortSignal.any([this.#signal, AbortSignal.timeout(LIMIT_MS)]))
      .catch(() => [])
      .finally(() => (this.#request = undefined));
    return this.#request;
  }
}

function phaseOf({ phase, copied, bytes }: CopyState): 'Copying' | 'Verifying' | 'Failed' {
  if (phase === 'failed') return 'Failed';
  return phase === 'verifying' || phase === 'verified' || copied === bytes ? 'Verifying' : 'Copying';
}
