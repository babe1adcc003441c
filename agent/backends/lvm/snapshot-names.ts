import { kindOf, snapshotId } from '../backend.ts';
import { failed } from './command/failed.ts';
import type { LvmGroup } from './group.ts';
import type { LogicalVolume } from './report.ts';
import { PREFIX, TAG, TAG_NEW } from './tags.ts';

/** Name of the AoESnapshot. */
export const TAG_SNAPSHOT = 'aoe.dev/snapshot=';
/** UID of the AoEVolume that it was taken of. */
export const TAG_ORIGIN = 'aoe.dev/origin=';
/** The instant that it shows. */
export const TAG_CREATED = 'aoe.dev/created=';

/** The name of a snapshot's logical volume. */
export function snapshotNameOf(uid: string): string {
  return `${PREFIX}${snapshotId(uid)}`;
}

/** UID of the AoESnapshot of a logical volume. */
export function snapshotUidOf({ name }: LogicalVolume): string {
  return name.slice(snapshotNameOf('x').length - 1);
}

/** Whether a logical volume is a snapshot of ours. */
export function isSnapshot({ name, tags }: LogicalVolume): boolean {
  return name.startsWith(PREFIX) && kindOf(name.slice(PREFIX.length)) === 'snapshot' && tags.includes(TAG);
}

/** Whether a snapshot is not known to be whole. */
export function isHalf({ tags }: LogicalVolume): boolean {
  return tags.includes(TAG_NEW);
}

/** Whether an error is of a program that was run. */
export function isOfTheCommand(error: unknown): boolean {
  return error instanceof Error && 'stderr' in error;
}

/**
 * Activates a logical volume, or deactivates it.
 * @param find the volume in a report; undefined when there is none
 * @returns the volume as it is now; undefined when there is none
 * @throws BackendError
 */
export async function setActive(
  group: LvmGroup,
  find: (volumes: readonly LogicalVolume[]) => LogicalVolume | undefined,
  { wanted, maxAgeMs }: { wanted: boolean; maxAgeMs: number },
  signal: AbortSignal,
): Promise<LogicalVolume | undefined> {
  const known = find((await group.read(maxAgeMs, signal)).volumes);
  if (!known || known.active === wanted) return known;
  return await group.turn(async () => {
    const volume = find((await group.report(signal)).volumes);
    if (!volume || volume.active === wanted) return volume;
    const args = wanted ? ['--activate', 'y', '--ignoreactivationskip'] : ['--activate', 'n'];
    try {
      await group.change('lvchange', [...args, group.pathOf(volume.name)]);
    } catch (error) {
      throw isOfTheCommand(error) ? failed(`${wanted ? '' : 'de'}activating logical volume ${group.pathOf(volume.name)}`, error) : error;
    }
    const changed = { ...volume, active: wanted };
    group.note(changed);
    return changed;
  }, signal);
}
