import { int64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import type { Deps } from '../deps.ts';
import { call, FakeCluster, mount } from '../testing/fake-cluster.ts';
import { deleteVolume } from './delete.ts';
import { expandVolume } from './expand.ts';
import { publishVolume } from './publish.ts';
import { unpublishVolume } from './unpublish.ts';

const GiB = 1024 ** 3;

/** A volume whose pool wipes the blocks by which it grows, and a call that waits for that until it is told to end. */
function growing() {
  const cluster = new FakeCluster({ capacity: '6Gi', pool: 'p' });
  const { deps } = cluster;
  const end = Promise.withResolvers<never>();
  const waiting = { ...deps, pools: { get: () => undefined }, volumes: { waitFor: () => end.promise } } as unknown as Deps;
  const expand = expandVolume(waiting, { volumeId: 'v', capacityRange: { requiredBytes: int64(6 * GiB) } }, call());
  const ended = expect(expand).rejects.toThrow('told to end');
  const stop = async () => {
    end.reject(new Error('told to end'));
    await ended;
  };
  return { cluster, deps, stop };
}

describe('while a volume grows', () => {
  it('nodes are attached and detached', async () => {
    const { cluster, deps, stop } = growing();
    await unpublishVolume(deps, { volumeId: 'v', nodeId: 'b' }, call());
    await publishVolume(deps, { volumeId: 'v', nodeId: 'a', volumeCapability: mount }, call());
    expect(cluster.nodes).toStrictEqual(['a']);
    await unpublishVolume(deps, { volumeId: 'v', nodeId: 'a' }, call());
    expect(cluster.nodes).toBeUndefined();
    await stop();
  });

  it('it is not deleted', async () => {
    const { deps, stop } = growing();
    await expect(deleteVolume(deps, { volumeId: 'v' }, call())).rejects.toMatchObject({ code: Code.ABORTED });
    await stop();
  });
});
