import type { LockOwner } from '../../../aoe/mod.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { LocalDisk } from '../disk/local-disk.ts';
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
  readonly stagingPath: string;
  readonly owner: LockOwner;
  readonly disk: LocalDisk;
  readonly signal: AbortSignal;
  /** Names a step that can take long when it begins, for the messages to the calls that wait. */
  readonly step: (name: string) => void;
}
