import { formatQuantity, parseQuantity } from '../api/quantity.ts';
import { type AoEVolume, VolumeCondition } from '../api/volume.ts';
import { type Backend, BackendError } from './backends/backend.ts';
import type { VolumeStatus } from './volume-status.ts';

/** Try again after this long when nothing tells us that the cause is gone. */
const RETRY_MS = 15_000;

export interface Provisioned {
  path: string;
  /** Whether the data was made just now, so that the pool is to be measured. */
  made: boolean;
}

/** What stands in the way, as a condition says it, and when to look again. */
export interface NotProvisioned {
  retryMs: number;
}

/** Whether the volume's data was ever there. From then on it is looked for, and never made. */
export function wasProvisioned({ status }: AoEVolume): boolean {
  return status?.capacity !== undefined;
}

/**
 * Sees to it that the volume's data is there, and notes it in the status. Errors of the backend end up there as well.
 * @param served whether the target knows the volume: then it was made, whatever the status says
 */
export async function provision(
  volume: AoEVolume,
  backend: Backend | undefined,
  { status, served }: { status: VolumeStatus; served: boolean },
  signal: AbortSignal,
): Promise<Provisioned | NotProvisioned> {
  const { uid = '', name } = volume.metadata;
  const note = (state: 'True' | 'False', reason: string, message: string): void =>
    status.condition(VolumeCondition.Provisioned, state, reason, message);
  if (!backend) {
    note('False', 'NoSuchPool', `AoEPool ${volume.spec.pool} does not exist: create it`);
    return { retryMs: RETRY_MS };
  }
  const before = served || wasProvisioned(volume);
  const bytes = parseQuantity(volume.spec.capacity ?? '0');
  try {
    const backing = before ? await backend.open(uid, signal) : await backend.create({ uid, name, bytes }, signal);
    if (!backing) {
      const message = `${backend.path(uid)} is gone, and with it the data: bring it back under that name, or delete the AoEVolume`;
      note('False', 'BackingLost', message);
      return { retryMs: RETRY_MS };
    }
    if (backing.bytes < bytes) {
      note('False', 'BackingTooSmall', `${backing.name} has ${backing.bytes} bytes instead of ${bytes}: it was shrunk, and is not served`);
      return { retryMs: RETRY_MS };
    }
    note('True', 'Provisioned', `the data is in ${backing.name}`);
    status.now.capacity = formatQuantity(backing.bytes);
    return { path: backend.path(uid), made: !before };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    note('False', error.reason, error.message);
    return { retryMs: RETRY_MS };
  }
}
