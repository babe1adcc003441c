import type { Condition } from '../../api/meta.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { createEmpty } from '../backends/create-empty.ts';
import type { VolumeStatus } from './status.ts';

/** Try again after this long when nothing tells us that the cause is gone. */
const RETRY_MS = 15_000;

/** Condition Provisioned, as it is to be. */
type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

export interface Provisioned {
  verdict: Verdict;
  path: string;
  /** Size of the data. */
  bytes: number;
  /** Whether the data was made just now, so that the pool is to be measured. */
  made: boolean;
}

/** What stands in the way, and when to look again. */
export interface NotProvisioned {
  verdict: Verdict;
  retryMs: number;
}

/** Whether the volume's data was ever there. From then on it is looked for, and never made. */
export function wasProvisioned({ status }: AoEVolume): boolean {
  return status?.capacity !== undefined;
}

/**
 * Sees to it that the volume's data is there. Errors of the backend are in what it returns.
 * @param served whether the target knows the volume: then it was made, whatever the status says
 */
export async function provision(
  volume: AoEVolume,
  backend: Backend | undefined,
  { served }: { served: boolean },
  signal: AbortSignal,
): Promise<Provisioned | NotProvisioned> {
  const { uid = '', name } = volume.metadata;
  const not = (reason: string, message: string): NotProvisioned => ({ verdict: { status: 'False', reason, message }, retryMs: RETRY_MS });
  if (!backend) return not('NoSuchPool', `AoEPool ${volume.spec.pool} does not exist: create it`);
  const before = served || wasProvisioned(volume);
  const bytes = parseQuantity(volume.spec.capacity ?? '0');
  try {
    const backing = before ? await backend.open(uid, signal) : await createEmpty(backend, { uid, name, bytes }, signal);
    if (!backing) {
      return not(
        'BackingLost',
        `${backend.path(uid)} is gone, and with it the data: bring it back under that name, or delete the AoEVolume`,
      );
    }
    if (backing.bytes < bytes) {
      return not('BackingTooSmall', `${backing.name} has ${backing.bytes} bytes instead of ${bytes}: it was shrunk, and is not served`);
    }
    const verdict = { status: 'True', reason: 'Provisioned', message: `the data is in ${backing.name}` } as const;
    return { verdict, path: backend.path(uid), bytes: backing.bytes, made: !before };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return not(error.reason, error.message);
  }
}

/** Notes in the status what came of it. */
export function noteProvisioned(data: Provisioned | NotProvisioned, status: VolumeStatus): void {
  const { verdict } = data;
  status.condition(VolumeCondition.Provisioned, verdict.status, verdict.reason, verdict.message);
  if ('bytes' in data) status.now.capacity = formatQuantity(data.bytes);
}
