import { type AoEVolume, movesOf, serialNumber } from '../../api/volume.ts';
import type { Backend, BackingVolume } from '../backends/backend.ts';
import type { CopyInContext } from '../copier/copy-in.ts';
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
 * Takes the mark off a copy that a move made here. The operator gives a volume its new place only once all of its data was compared, so that
 * spec.move with the id in the mark says that the copy is whole.
 * @throws BackendError
 */
export async function finishMove(
  backend: Pick<Backend, 'noteMoves' | 'finishCopy'>,
  volume: AoEVolume,
  backing: BackingVolume,
  oneAtATime: CopyInContext['oneAtATime'],
  signal: AbortSignal,
): Promise<BackingVolume> {
  const { move } = volume.spec;
  const { copy, ...whole } = backing;
  if (copy === undefined || !move || move.stage === 'Copying' || copy.split('/')[0] !== move.id) return backing;
  const moves = movesOf(volume);
  const finish = async (): Promise<void> => {
    await backend.noteMoves(backing.uid, moves, signal);
    await backend.finishCopy(backing.uid, signal);
  };
  await (oneAtATime ? oneAtATime(backing.uid, finish) : finish());
  return { ...whole, moves };
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
  // The way back is two moves, or more when the disks of the lost node were moved, too. An earlier operator has noted no number.
  const { back, moves: earlier = expected - 2 } = spec.move ?? {};
  const least = back ? earlier : expected - 1;
  if (mode === 'open' && moves < least) return { kind: 'older-copy', name, moves, expected };
  await backend.noteMoves(uid, expected, signal);
  return undefined;
}

/** Whether the target serves a moved volume as it was before: this node had it once, and was away when it was moved elsewhere. */
export function isOfEarlierPlace(volume: AoEVolume, { volume: { serial } }: TargetVolumeState): boolean {
  return movesOf(volume) > 0 && serial !== serialNumber(volume.metadata.uid ?? '', movesOf(volume));
}
