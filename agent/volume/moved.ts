import { type AoEVolume, movesOf, serialNumber } from '../../api/volume.ts';
import type { Backend, BackingVolume } from '../backends/backend.ts';
import type { TargetVolumeState } from '../target/api.ts';

/** The volume was served elsewhere after this copy of its data was. */
export interface OlderCopy {
  kind: 'older-copy';
  /** What an administrator would look for. */
  name: string;
  /** The spec.moves that is noted beside the data, and the one of the volume. */
  moves: number;
  expected: number;
}

/**
 * Notes beside the data that it is served after so many moves, before it is exported.
 * @returns why it is not served: by its own note it was not the volume's data before the last move
 * @throws BackendError
 */
export async function noteMoves(
  backend: Pick<Backend, 'noteMoves'>,
  { metadata: { uid = '' }, spec }: AoEVolume,
  { name, moves = 0 }: BackingVolume,
  mode: 'open' | 'create',
  signal: AbortSignal,
): Promise<OlderCopy | undefined> {
  const expected = movesOf({ spec });
  if (moves >= expected) return undefined;
  if (mode === 'open' && moves < expected - 1) return { kind: 'older-copy', name, moves, expected };
  await backend.noteMoves(uid, expected, signal);
  return undefined;
}

/** Whether the target serves a moved volume as it was before: this node had it once, and was away when it was moved elsewhere. */
export function isOfEarlierPlace(volume: AoEVolume, { volume: { serial } }: TargetVolumeState): boolean {
  return movesOf(volume) > 0 && serial !== serialNumber(volume.metadata.uid ?? '', movesOf(volume));
}
