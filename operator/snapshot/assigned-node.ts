import { isPlaced } from '../../api/capacity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { type AoEVolume, isCopiedAway } from '../../api/volume.ts';

/**
 * The node whose agent may take a snapshot: a token of another node cannot claim it. It is that of the volume. For a member of a group it is the
 * node that the group has named, also when the volume has left that node: its agent says so.
 * @param volume undefined when it does not exist, or is another one of that name; not looked at for a member
 * @param group that of the snapshot, with its UID
 */
export function assignedNodeOf(
  { metadata, spec, status }: AoESnapshot,
  volume: AoEVolume | undefined,
  group: AoESnapshotGroup | undefined,
): string | undefined {
  if (status?.nodeName !== undefined || metadata.deletionTimestamp) return undefined;
  if (spec.group) return group?.status?.members?.find(({ name }) => name === metadata.name)?.nodeName;
  return volume && isPlaced(volume) && !isCopiedAway(volume) ? volume.spec.nodeName : undefined;
}
