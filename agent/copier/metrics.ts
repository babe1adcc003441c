import { type AoEVolume, isCopiedAway, moveReport } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import { type Collect, gauge } from '../../run/metrics.ts';

const LABELS = ['volume', 'phase'] as const;
type Copy = NonNullable<NonNullable<AoEVolume['status']>['copy']>;

/** Progress of the copies into volumes of this node, and of moves to it, for metrics. */
export class CopyMetrics {
  readonly #volumes: Pick<Store<AoEVolume>, 'list'>;
  readonly #moves: Pick<Store<AoEVolume>, 'list'>;

  /** @param moves the AoEVolumes whose spec.move names this node */
  constructor(volumes: Pick<Store<AoEVolume>, 'list'>, moves: Pick<Store<AoEVolume>, 'list'>) {
    this.#volumes = volumes;
    this.#moves = moves;
  }

  /** Registers the gauges: once in a process. */
  register(): void {
    const of = (value: (copy: Pick<Copy, 'bytesDone' | 'bytesTotal'>) => number): Collect<(typeof LABELS)[number]> => {
      return (set) => {
        for (const { metadata, status } of this.#volumes.list())
          if (status?.copy) set({ volume: metadata.name, phase: status.copy.phase }, value(status.copy));
        for (const volume of this.#moves.list()) {
          const { phase, bytesDone = 0, bytesTotal = 0 } = moveReport(volume) ?? {};
          if (phase && isCopiedAway(volume)) set({ volume: volume.metadata.name, phase }, value({ bytesDone, bytesTotal }));
        }
      };
    };
    const done = of(({ bytesDone }) => bytesDone);
    gauge('aoe_agent_copy_done_bytes', 'Bytes of a copy that are copied, or in phase Verifying compared.', LABELS, done);
    gauge(
      'aoe_agent_copy_size_bytes',
      'Bytes that are to be copied.',
      LABELS,
      of(({ bytesTotal }) => bytesTotal),
    );
  }
}
