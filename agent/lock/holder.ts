import { escapeString, type LockText, parseLock } from '../../aoe/mod.ts';
import type { Holder } from '../../api/volume.ts';

/** Characters of another program's config string that the printer column shows. */
const MAX_NAME = 32;

/** The holder that a config string names, as status.holder has it; undefined when the string is empty. */
export function readHolder(configString: Uint8Array): Holder | undefined {
  if (configString.length === 0) return undefined;
  const lock = parseLock(configString);
  const raw = escapeString(configString);
  if (lock) return { name: lock.node, node: lock.node, nodeUID: lock.nodeUID, since: lock.since, raw };
  return { name: `"${raw.length > MAX_NAME ? `${raw.slice(0, MAX_NAME)}…` : raw}"`, raw };
}

/** A holder for the middle of a sentence. */
export function describeHolder({ node, since, raw }: Holder): string {
  return node ? `node ${node} since ${since}` : `a host that set "${raw}"`;
}

/**
 * The lock to clear: one in our format, for this volume, of a node that neither is admitted nor is to be. All other config strings
 * are respected, whoever set them.
 * @param wanted nodes that the spec names
 * @param admitted nodes that the target is to admit
 */
export function staleLock(
  configString: Uint8Array,
  { volumeUID, wanted, admitted }: { volumeUID: string; wanted: readonly string[]; admitted: readonly string[] },
): LockText | undefined {
  const lock = parseLock(configString);
  if (!lock || lock.volumeUID !== volumeUID) return undefined;
  return wanted.includes(lock.node) || admitted.includes(lock.node) ? undefined : lock;
}
