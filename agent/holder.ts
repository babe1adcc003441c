import { escapeString, type LockText, parseLock } from '../aoe/mod.ts';
import type { Holder } from '../api/volume.ts';

/** status.holder of a config string; undefined when there is none. */
export function holderOf(configString: Uint8Array): Holder | undefined {
  if (configString.length === 0) return undefined;
  const lock = parseLock(configString);
  const raw = escapeString(configString);
  return lock ? { node: lock.node, nodeUID: lock.nodeUID, since: lock.since, raw } : { raw };
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
