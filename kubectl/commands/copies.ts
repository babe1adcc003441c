import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { AOE_VOLUMES, PERSISTENT_VOLUMES, type PersistentVolume } from '../cluster/objects.ts';
import { byVolume, claimNameOf, claimText } from '../cluster/volumes.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { sizeText } from '../report/size.ts';
import { table } from '../report/table.ts';

/** A volume that is being made of a snapshot. */
export interface Copy {
  readonly volume: string;
  readonly claim?: string | undefined;
  /** The AoESnapshot of which it is made. */
  readonly snapshot: string;
  readonly pool?: string | undefined;
  /** Absent while it is not placed. */
  readonly node?: string | undefined;
  /** Absent when nothing is copied: the snapshot is of the same pool and node, or the copy has not begun. */
  readonly phase?: 'Waiting' | 'Copying' | 'Verifying' | undefined;
  readonly bytesDone?: number | undefined;
  readonly bytesTotal?: number | undefined;
  /** What the volume waits for, in the words of its conditions. */
  readonly note?: string | undefined;
}

export function copiesOf(volumes: readonly AoEVolume[], persistentVolumes: readonly PersistentVolume[] | undefined): Copy[] {
  const named = byVolume(persistentVolumes);
  return volumes
    .flatMap((volume): Copy[] => {
      const { metadata, spec, status } = volume;
      if (!spec.source || status?.capacity !== undefined) return [];
      const claim = claimText(claimNameOf(volume, named.get(metadata.name))) || undefined;
      const { phase, bytesDone, bytesTotal } = status?.copy ?? {};
      const wrong = [VolumeCondition.Placed, VolumeCondition.Provisioned]
        .map((type) => status?.conditions?.find((each) => each.type === type))
        .find((each) => each !== undefined && each.status !== 'True');
      const { pool, nodeName: node } = spec;
      return [
        { volume: metadata.name, claim, snapshot: spec.source.snapshot, pool, node, phase, bytesDone, bytesTotal, note: wrong?.message },
      ];
    })
    .toSorted((a, b) => a.volume.localeCompare(b.volume));
}

export function copiesText(copies: readonly Copy[]): string[] {
  if (copies.length === 0) return ['No volume is being made of a snapshot.'];
  const rows = copies.map(({ volume, claim = '', snapshot, pool = '', node = '', phase = '', note = '', ...bytes }) => {
    return [volume, claim, snapshot, pool, node, phase, doneText(bytes), note];
  });
  return table(['VOLUME', 'CLAIM', 'SNAPSHOT', 'POOL', 'NODE', 'PHASE', 'DONE', 'NOTE'], rows);
}

function doneText({ bytesDone, bytesTotal }: Pick<Copy, 'bytesDone' | 'bytesTotal'>): string {
  if (bytesDone === undefined || !bytesTotal) return '';
  return `${sizeText(String(bytesDone))} of ${sizeText(String(bytesTotal))} (${Math.floor((100 * bytesDone) / bytesTotal)} %)`;
}

export async function copies(context: Context): Promise<ExitStatus> {
  const { reader } = context;
  const [volumes, persistentVolumes] = await Promise.all([
    reader.list<AoEVolume>(AOE_VOLUMES),
    reader.list<PersistentVolume>(PERSISTENT_VOLUMES),
  ]);
  if (!volumes) return 1;
  const found = copiesOf(volumes, persistentVolumes);
  write(context, { data: { copies: found, notSeen: reader.notSeen }, text: () => copiesText(found) });
  return 0;
}
