import { messageOf } from '../../../../kube/mod.ts';
import { stderrOf } from '../../../../run/exec.ts';
import { BackendError } from '../../backend.ts';
import { metadataRemedy } from '../metadata-area.ts';

/** What LVM says when a group has no room for the data. */
const NO_SPACE = /insufficient (suitable )?(allocatable|free) (space|extents)/i;
/** What LVM says when its own metadata area has no room for what it would have to note (lib/format_text/format-text.c). */
const NO_METADATA = /\bVG (\S+) .*(exceeds maximum metadata size|too large for circular buffer)/i;

/**
 * A BackendError for the failure of an LVM command, with what LVM printed: PoolFull when the group had no room, else BackendFailed. A
 * BackendError stays as it is.
 */
export function failed(doing: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const said = stderrOf(error);
  const words = said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('WARNING'));
  const reason = words.length > 0 ? words.join('; ') : messageOf(error);
  const group = NO_METADATA.exec(said)?.[1];
  const remedy = group === undefined ? '' : `. ${metadataRemedy(group)}`;
  const isFull = group !== undefined || NO_SPACE.test(said);
  return new BackendError(isFull ? 'PoolFull' : 'BackendFailed', `${doing}: ${reason}${remedy}`, { cause: error });
}
