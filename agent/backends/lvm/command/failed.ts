import { messageOf } from '../../../../kube/mod.ts';
import { stderrOf } from '../../../../run/exec.ts';
import { BackendError } from '../../backend.ts';

/** A BackendError for the failure of an LVM command, with what LVM printed. A BackendError stays as it is. */
export function failed(doing: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const words = stderrOf(error)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('WARNING'));
  const reason = words.length > 0 ? words.join('; ') : messageOf(error);
  return new BackendError('BackendFailed', `${doing}: ${reason}`, { cause: error });
}

/** The error to report when LVM refused a command because the group is full; undefined when that was not why. */
export function fullError(group: string, error: unknown, bytes: number): BackendError | undefined {
  const said = stderrOf(error);
  if (!/insufficient (suitable )?(allocatable|free) (space|extents)|insufficient free space/i.test(said)) return undefined;
  return new BackendError('PoolFull', `volume group ${group} does not have ${bytes} bytes free: ${said.trim()}`, { cause: error });
}
