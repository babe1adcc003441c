import { escapeString, type LockText, parseLock } from '../../aoe/mod.ts';
import type { Condition } from '../../api/meta.ts';
import type { AoEVolume, Holder } from '../../api/volume.ts';

/** How much of a string that is not ours is shown in a column. */
const MAX_NAME = 32;

/** status.holder of a config string; undefined when there is none. */
export function readHolder(configString: Uint8Array): Holder | undefined {
  if (configString.length === 0) return undefined;
  const lock = parseLock(configString);
  const raw = escapeString(configString);
  if (lock) return { name: lock.node, node: lock.node, nodeUID: lock.nodeUID, since: lock.since, raw };
  return { name: `"${raw.length > MAX_NAME ? `${raw.slice(0, MAX_NAME)}…` : raw}"`, raw };
}

/** A holder as sentences name it. */
export function describeHolder({ node, since, raw }: Holder): string {
  return node ? `node ${node} since ${since}` : `somebody who wrote "${raw}"`;
}

/** Condition Locked of a config string. */
export function lockCondition(
  { metadata: { uid }, spec: { access } }: AoEVolume,
  configString: Uint8Array,
): Pick<Condition, 'status' | 'reason' | 'message'> {
  const holder = readHolder(configString);
  if (!holder) {
    if (access === 'Shared')
      return {
        status: 'False',
        reason: 'Shared',
        message: 'there is no lock: all hosts in force may write, and must agree among themselves',
      };
    if (access === 'ReadOnlyMany') return { status: 'False', reason: 'ReadOnly', message: 'there is no lock: nobody can write' };
    return { status: 'False', reason: 'Free', message: 'nobody has the lock' };
  }
  const who = describeHolder(holder);
  if (!holder.node)
    return { status: 'True', reason: 'NotOurs', message: `held by ${who}: it is respected, see docs/operate.md on how to break a lock` };
  if (parseLock(configString)?.volumeUID !== uid)
    return { status: 'True', reason: 'OtherVolume', message: `held by ${who}, for another volume: "${holder.raw}"` };
  return { status: 'True', reason: 'Held', message: `held by ${who}` };
}

/**
 * The lock to take away: of our own format, for this volume, and of a node that is neither let in nor to be let in. Strings
 * of others are respected, whoever they are.
 */
export function staleLock(
  configString: Uint8Array,
  { volumeUID, wanted, inForce }: { volumeUID: string; wanted: readonly string[]; inForce: readonly string[] },
): LockText | undefined {
  const lock = parseLock(configString);
  if (!lock || lock.volumeUID !== volumeUID) return undefined;
  return wanted.includes(lock.node) || inForce.includes(lock.node) ? undefined : lock;
}
