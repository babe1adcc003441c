import type { Condition } from '../../api/meta.ts';
import { BackendError, type BackingSnapshot } from '../backends/backend.ts';
import { NoInstantError } from './instant.ts';

const RETRY_MS = 15_000;
/** When the volume could not be held still, or the target is away. */
const SOON_MS = 3_000;
/** After a freeze that failed: each attempt lets programs wait. */
const FREEZE_MS = 60_000;
/** How often it is looked whether a snapshot is still there. */
const CHECK_MS = 10 * 60_000;

/** What came of a reconcile: condition Taken, and when to reconcile again. */
export interface Outcome {
  verdict: Pick<Condition, 'status' | 'reason' | 'message'>;
  /** The snapshot, once it was taken. It is whole when the verdict is True. */
  taken?: BackingSnapshot;
  /** Undefined when a change of the volume or the pool leads to a reconcile. */
  retryMs?: number;
}

export function taken(snapshot: BackingSnapshot): Outcome {
  if (snapshot.unfinished) {
    const message = `the data of ${snapshot.createdAt} is copied into ${snapshot.name} next`;
    return { verdict: { status: 'False', reason: 'Copying', message }, taken: snapshot, retryMs: 0 };
  }
  const message = `${snapshot.name} has the data of ${snapshot.createdAt}`;
  return { verdict: { status: 'True', reason: 'Taken', message }, taken: snapshot, retryMs: CHECK_MS };
}

/** Not taken, and tried again when something changes; with `retryMs`, also after that time. */
export function refused(reason: string, message: string, retryMs?: number): Outcome {
  return { verdict: { status: 'False', reason, message }, ...(retryMs === undefined ? {} : { retryMs }) };
}

/**
 * What an error means for the snapshot.
 * @throws the error itself when it is not of backend or target
 */
export function failedBy(error: unknown): Outcome {
  if (error instanceof NoInstantError) {
    const isOfFreeze = error.reason === 'NotFrozen' || error.reason === 'FreezeUnsupported';
    return refused(error.reason, error.message, error.retryMs ?? (isOfFreeze ? FREEZE_MS : SOON_MS));
  }
  if (error instanceof BackendError) return refused(error.reason, error.message, RETRY_MS);
  throw error;
}
