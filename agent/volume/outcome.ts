import type { TargetError, TargetVolumeState } from '../target/api.ts';
import type { RemovalResult } from './removal.ts';

/** What came of a plan. */
export interface Outcome {
  /** The volume as the target serves it; set only once the target admits the planned initiators and no others. */
  confirmed?: TargetVolumeState | undefined;
  /** The volume with the config string that was last seen. */
  holderSeen?: TargetVolumeState | undefined;
  /** The lock of a node that is not admitted any more was cleared. */
  lockCleared?: boolean;
  /** How far a deletion came. */
  removal?: RemovalResult;
  /** The target refused or failed. */
  error?: TargetError;
}
