import { type ConfigReply, type LockOwner, parseLock, sameOwner } from '../../../aoe/mod.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';

/**
 * Whether no other host can have had a volume since this node staged it: the lock that is there is one that it was staged under.
 * Otherwise others may have written to it, and what the kernel has of it is of before.
 * @param configs of every target that answered
 */
export function heldAllTheTime(configs: readonly ConfigReply[], owner: LockOwner, staged: StagedVolume | undefined): boolean {
  return configs.every(({ string }) => {
    const lock = parseLock(string);
    return lock !== undefined && sameOwner(lock, owner) && (staged?.locks === undefined || staged.locks.includes(lock.since));
  });
}
