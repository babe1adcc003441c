import type { TargetError, TargetVolumeState } from '../target/api.ts';
import type { RemovalResult } from './removal.ts';

/** What came of a plan. */
export interface Outcome {
  /** The volume as the target serves it, once it admits whom the plan says, and nobody else. */
  confirmed?: TargetVolumeState | undefined;
  /** The volume with the config string that was last seen. */
  holderSeen?: TargetVolumeState | undefined;
  /** The lock of a node that is not admitted any more was cleared. */
  lockCleared?: boolean;
  /** A deletion whose access plan was carried out. */
  removal?: RemovalResult;
  /** The target refused or failed. */
  error?: TargetError;
}
