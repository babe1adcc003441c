import type { LockOwner } from '../../../aoe/mod.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { LocalDisk } from '../disk/local-disk.ts';
import type { Passphrase } from '../encryption/passphrase.ts';
import type { JobStep } from '../volume-jobs.ts';
import type { PublishContext } from './publish-context.ts';
import type { Usage } from './usage.ts';

/** One staging of one volume: what its steps share. */
export interface StageJob {
  readonly volumeId: string;
  /** How messages name volume, address and node. */
  readonly name: string;
  readonly volume: AoEVolume;
  readonly context: PublishContext;
  readonly usage: Usage;
  /** Of an encrypted volume; undefined for others. */
  readonly passphrase: Passphrase | undefined;
  readonly stagingPath: string;
  readonly owner: LockOwner;
  readonly disk: LocalDisk;
  readonly signal: AbortSignal;
  /** Names a step when it begins, for the messages to the calls that wait. */
  readonly step: (name: string) => void;
  /** Says how far a step is that may take hours, for the same messages. The step can be gone on with later: a NodeUnstageVolume ends it. */
  readonly progress: (name: string) => void;
  /** Milliseconds that each step took, by its name; the last one until now. */
  readonly took: () => Record<string, number>;
}

/** Measures the steps that it names. */
export function timed(step: JobStep): Pick<StageJob, 'step' | 'progress' | 'took'> {
  const steps: { name: string; since: number }[] = [];
  return {
    step: (name) => {
      steps.push({ name, since: performance.now() });
      step(name);
    },
    progress: (name) => step(name, { endedBy: 'NodeUnstageVolume' }),
    took: () =>
      Object.fromEntries(steps.map(({ name, since }, index) => [name, Math.round((steps[index + 1]?.since ?? performance.now()) - since)])),
  };
}
