import { describeError } from '../../../aoe/mod.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { StageJob } from '../calls/stage-job.ts';
import type { Deps } from '../deps.ts';

const RELEASE_MS = 5_000;

/**
 * Takes the volume's lock for this node, as of the time `since`.
 * @throws RpcError FAILED_PRECONDITION when another has it, or the target refuses; UNAVAILABLE when the target does not answer
 */
export async function takeLock({ wire, volumes }: Deps, { name, volume, context, owner, signal }: StageJob, since: string): Promise<void> {
  const result = await wire.acquire(context.target, owner, since, signal);
  switch (result.outcome) {
    case 'held': {
      const { node, nodeUID, since } = result.lock;
      // The agent reports the holders of the cluster's own targets.
      if (context.external) await volumes.record(volume, { holder: { name: node, node, nodeUID, since, raw: result.raw } }, signal);
      return;
    }
    case 'occupied': {
      const { lock: theirs, raw } = result.holder;
      const holder = theirs
        ? `node ${theirs.node} since ${theirs.since}${theirs.volumeUID === context.volumeUID ? '' : `, for volume ${theirs.volumeUID}`}`
        : `somebody who wrote "${raw}"`;
      throw new RpcError(Code.FAILED_PRECONDITION, `${name} is in use: the lock is held by ${holder}`);
    }
    case 'refused':
      throw new RpcError(Code.FAILED_PRECONDITION, `${name}: the target refuses the lock with ${describeError(result.error)}`);
    case 'unanswered':
      throw new RpcError(
        Code.UNAVAILABLE,
        `${name}: the target stopped answering while the lock was taken; is the storage node in trouble?`,
      );
  }
}

/** Releases the lock after a stage that failed, so that nobody is kept out by it. When a pod already has the disk, the lock stays. */
export async function releaseAfterFailure(
  { wire, mounter, log }: Deps,
  { volumeId, context, stagingPath, owner, disk }: StageJob,
): Promise<void> {
  if (context.access !== 'Exclusive') return;
  const isStaged = (await mounter.list()).some(({ target }) => target === stagingPath);
  if (isStaged || (await disk.liveMounts()).length > 0) return;
  const { outcome } = await wire
    .release(context.target, owner, AbortSignal.timeout(RELEASE_MS))
    .catch((error: unknown) => ({ outcome: messageOf(error) }));
  if (outcome !== 'released') log.warn({ volume: volumeId, outcome }, 'lock not released after a failed stage');
}
