import type { AoEVolume } from '../../../api/volume.ts';
import { Code } from '../../../rpc/status.ts';
import { call, FakeCluster } from '../testing/fake-cluster.ts';
import { unpublishVolume } from './unpublish.ts';

const unpublish = (cluster: FakeCluster, nodeId = 'a') => unpublishVolume(cluster.deps, { volumeId: 'v', nodeId }, call());

describe('unpublishVolume of a node that has the lock', () => {
  const holder = { name: 'a', node: 'a', since: '2026-01-01T00:00:00Z', raw: 'lock' };
  const taint = { key: 'node.kubernetes.io/out-of-service', value: 'nodeshutdown', effect: 'NoExecute' };
  const silent = { type: 'Ready', status: 'Unknown', lastTransitionTime: '2026-02-02T00:00:00Z' };
  const states: [string, object | undefined, RegExp][] = [
    ['was deleted', undefined, /does not exist any more/],
    ['is out of service', { spec: { taints: [taint] }, status: { conditions: [silent] } }, /out-of-service=nodeshutdown/],
    ['is not Ready', { status: { conditions: [silent] } }, /not been Ready since 2026-02-02/],
    ['is Ready', { status: { conditions: [{ ...silent, status: 'True' }] } }, /deleted by force/],
  ];
  for (const [what, kubeNode, message] of states) {
    it(`says in an event that the node ${what}`, async () => {
      const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
      cluster.volume = { ...cluster.volume, status: { holder } } as AoEVolume;
      cluster.kubeNode = kubeNode;
      await unpublish(cluster);
      expect(cluster.nodes).toBeUndefined();
      expect(cluster.events.join()).toMatch(/^DetachedInUse: detached from node a, which has the lock since 2026-01-01/);
      expect(cluster.events.join()).toMatch(message);
    });
  }

  it('emits no event for a node that has released the lock, or was detached before', async () => {
    for (const status of [{}, { holder: { ...holder, node: 'b' } }]) {
      const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
      cluster.volume = { ...cluster.volume, status } as AoEVolume;
      await unpublish(cluster);
      cluster.volume = { ...cluster.volume, status: { holder } } as AoEVolume;
      await unpublish(cluster);
      expect(cluster.events).toStrictEqual([]);
    }
  });
});

describe('unpublishVolume', () => {
  it('removes one node, and leaves the others', async () => {
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes: ['a', 'b'] } });
    await unpublish(cluster);
    expect(cluster.nodes).toStrictEqual(['b']);
  });

  it('removes all nodes when none is named', async () => {
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes: ['a', 'b'] } });
    await unpublish(cluster, '');
    expect(cluster.nodes).toBeUndefined();
  });

  it('succeeds when the volume is deleted meanwhile', async () => {
    const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
    cluster.deletedMeanwhile = true;
    expect(await unpublish(cluster)).toStrictEqual({});
  });

  it('fails when others change the volume all the time', async () => {
    const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
    cluster.conflicts = 100;
    await expect(unpublish(cluster)).rejects.toMatchObject({ code: Code.ABORTED, message: expect.stringMatching(/changed by others/) });
  });
});
