import { type ConfigReply, type LockOwner, parseLock, sameOwner } from '../../../aoe/mod.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';

/**
 * True if every target still shows a lock that was taken for this staging, so that no other host can have written to the volume since.
 * If false, this node's mounts and page cache of it may be stale.
 * @param configs the answers of all targets at the address; with none of them nothing is known, and the lock counts as lost
 */
export function isLockUnbroken(configs: readonly ConfigReply[], owner: LockOwner, staged: StagedVolume | undefined): boolean {
  const isOurs = ({ string }: ConfigReply): boolean => {
    const lock = parseLock(string);
    return lock !== undefined && sameOwner(lock, owner) && (staged?.locks === undefined || staged.locks.includes(lock.since));
  };
  return configs.length > 0 && configs.every(isOurs);
}
