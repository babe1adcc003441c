import assert from 'node:assert/strict';
import { type AoEVolume, RECLAIM } from '../../../api/volume.ts';
import { FreeSpaceRuns, type FreeSpaceRunsOptions } from '../reclaim/runs.ts';
import type { FreeSpace, Zeroed, ZeroOptions } from '../reclaim/zero-free-space.ts';
import { mountOf, setUp } from './calls.ts';

/** When the world begins. */
export const START = '2026-11-29T01:00:00.000Z';
const MiB = 2 ** 20;

/** A node with volume `v1` staged, whose target gives zeros back. */
export async function staged(capability = mountOf()) {
  const it = setUp();
  const { node } = it;
  await it.stage(capability);
  // As NodePublishVolume does.
  if (capability.block) await node.mounter.mount('/dev/etherd/e7.3', it.targetPath, { options: ['bind'] });
  const volume = node.volumes.items.get('v1') ?? assert.fail();
  volume.status = { ...volume.status, reclaimsZeros: true };
  const world = {
    spaces: [] as FreeSpace[],
    events: [] as string[],
    zero: async (_onWritten?: ZeroOptions['onWritten']): Promise<Zeroed> => ({ bytes: 40 * MiB, end: 'all' }),
  };
  const clock = { passed: 0, now: () => clock.passed, date: () => new Date(Date.parse(START) + clock.passed + clock.wrongBy), wrongBy: 0 };
  const options: FreeSpaceRunsOptions = {
    zero: (space, { signal, onKilled, onWritten }) => {
      world.spaces.push(space);
      const aborted = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => {
        onKilled?.(Promise.resolve());
        aborted.reject(signal.reason);
      });
      return Promise.race([world.zero(onWritten), aborted.promise]);
    },
    emit: (_volume, type, reason, message) => world.events.push(`${type} ${reason}: ${message}`),
    clock,
  };
  /** Those of a node plugin that has just been started. */
  const runs = () => {
    const made = new FreeSpaceRuns(node.deps, options);
    node.endOwnUse = (address) => made.stop(address);
    node.reclaiming = (address) => made.written(address);
    return made;
  };
  const ask = (request: string): void => {
    volume.metadata.annotations = { [RECLAIM]: request };
  };
  const report = () => volume.status?.reclaim;
  return {
    ...it,
    volume,
    world,
    clock,
    runs,
    ask,
    report,
    check: (of: FreeSpaceRuns) => of.check('v1', structuredClone(volume) as AoEVolume),
  };
}
