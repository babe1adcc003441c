import { formatAddress } from '../../api/address.ts';
import { type AoEVolume, moveReport, VolumeCondition } from '../../api/volume.ts';
import { AOE_VOLUMES, PERSISTENT_VOLUMES, type PersistentVolume } from '../cluster/objects.ts';
import { byVolume, claimNameOf, claimText } from '../cluster/volumes.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { sizeText } from '../report/size.ts';
import { table } from '../report/table.ts';

/** A volume that is being made of a snapshot or of another target's disk, or moved with its data. */
export interface Copy {
  readonly volume: string;
  readonly claim?: string | undefined;
  /** The AoESnapshot of which it is made; absent for a move. */
  readonly snapshot?: string | undefined;
  /** The address of the target outside of this project whose disk is copied. */
  readonly external?: string | undefined;
  /** The place NODE/POOL from which it is moved; `pool` and `node` are then those to which it is moved. */
  readonly movedFrom?: string | undefined;
  readonly pool?: string | undefined;
  /** Absent while it is not placed. */
  readonly node?: string | undefined;
  /** Absent when nothing is copied: the snapshot is of the same pool and node, or the copy has not begun. */
  readonly phase?: 'Waiting' | 'Copying' | 'Verifying' | 'Verified' | undefined;
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
      if (spec.move?.stage === 'Copying') return [moveOf(volume, claimText(claimNameOf(volume, named.get(metadata.name))) || undefined)];
      if (!spec.source || status?.capacity !== undefined) return [];
      const claim = claimText(claimNameOf(volume, named.get(metadata.name))) || undefined;
      const { phase, bytesDone, bytesTotal } = status?.copy ?? {};
      const wrong = [VolumeCondition.Placed, VolumeCondition.Provisioned]
        .map((type) => status?.conditions?.find((each) => each.type === type))
        .find((each) => each !== undefined && each.status !== 'True');
      const { pool, nodeName: node } = spec;
      const { snapshot, external } = spec.source;
      const from = external ? { external: formatAddress(external) } : { snapshot };
      return [{ volume: metadata.name, claim, ...from, pool, node, phase, bytesDone, bytesTotal, note: wrong?.message }];
    })
    .toSorted((a, b) => a.volume.localeCompare(b.volume));
}

function moveOf(volume: AoEVolume, claim: string | undefined): Copy {
  const { metadata, spec } = volume;
  const { phase, bytesDone, bytesTotal, message } = moveReport(volume) ?? {};
  return {
    ...{ volume: metadata.name, claim, movedFrom: `${spec.nodeName}/${spec.pool}`, pool: spec.move?.pool, node: spec.move?.nodeName },
    ...{ phase: phase === 'Removed' ? undefined : phase, bytesDone, bytesTotal, note: message },
  };
}

export function copiesText(copies: readonly Copy[]): string[] {
  if (copies.length === 0) return ['No volume is being made of a snapshot or of another target, or moved.'];
  const rows = copies.map(
    ({ volume, claim = '', snapshot = '', external, movedFrom, pool = '', node = '', phase = '', note = '', ...bytes }) => {
      const from = external === undefined ? snapshot : `(disk at ${external})`;
      return [volume, claim, movedFrom === undefined ? from : `(moved from ${movedFrom})`, pool, node, phase, doneText(bytes), note];
    },
  );
  return table(['VOLUME', 'CLAIM', 'SOURCE', 'POOL', 'NODE', 'PHASE', 'DONE', 'NOTE'], rows);
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
