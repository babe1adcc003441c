import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool, AoEPoolStatus, PoolNode } from '../../api/pool.ts';
import { AOE_POOLS } from '../../api/resources.ts';
import { KubeError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { reconcilePool } from './reconciler.ts';

const signal = new AbortController().signal;

/** A pool with this status; each of the nodes in `present` has an AoENode. */
function world(status: AoEPoolStatus, present: string[], silence: (node: AoENode) => string | undefined = () => undefined) {
  const api = new FakeApi();
  api.put({ kind: 'AoEPool', metadata: { name: 'p' }, spec: { backend: 'file', directory: '/d' }, status } as AoEPool);
  for (const name of present) api.put({ kind: 'AoENode', metadata: { name } });
  const stores = { pools: api.store<AoEPool>('AoEPool'), nodes: api.store<AoENode>('AoENode'), kubeNodes: api.store<KubeNode>('Node') };
  return {
    api,
    reconcile: () => reconcilePool({ ...stores, kube: api, agents: { silence, limitMs: 300_000 } }, 'p', signal),
    status: () => api.read<AoEPool>(AOE_POOLS, 'p')?.status ?? {},
  };
}

const a = { name: 'a', ready: true, size: '4Gi', free: '1Gi' };
const b = { name: 'b', ready: false, size: '4Gi', free: '4Gi', message: 'no volume group vg0' };

/** The status of a pool with these entries, each of a node that is there. */
async function summaryOf(nodes: PoolNode[]): Promise<AoEPoolStatus> {
  const { status, reconcile } = world(
    { nodes },
    nodes.map(({ name }) => name),
  );
  await reconcile();
  return status();
}

describe('reconcilePool', () => {
  it('removes the entry of a node that is gone, and sums up the rest', async () => {
    const { status, reconcile } = world({ nodes: [a, b] }, ['a']);
    await reconcile();
    const { nodes, readyNodes, size, free } = status();
    expect([nodes, readyNodes, size, free]).toStrictEqual([[a], 1, '4Gi', '1Gi']);
  });

  it('counts only nodes on which the pool can be used', async () => {
    const { readyNodes, size, free } = await summaryOf([a, b]);
    expect([readyNodes, size, free]).toStrictEqual([1, '4Gi', '1Gi']);
  });

  it('says whether the pool can be used, and what is wrong where', async () => {
    const full = { ...a, message: 'data is 96 % full' };
    const table: [PoolNode[], string, RegExp][] = [
      [[], 'False NoNode', /aoe.dev\/storage=true/],
      [[b], 'False NotReady', /^b: no volume group vg0$/],
      [[a, b], 'True NeedsAttention', /^b: no volume group vg0$/],
      [[full, b], 'True NeedsAttention', /^b: no volume group vg0; a: data is 96 % full$/],
      [[{ ...a, name: 'c' }, a], 'True Ready', /^can be used on a, c$/],
    ];
    for (const [nodes, verdict, message] of table) {
      const [condition] = (await summaryOf(nodes)).conditions ?? [];
      expect(`${condition?.status} ${condition?.reason}`).toBe(verdict);
      expect(condition?.message ?? '').toMatch(message);
    }
  });

  it('has a message that can be written when the agents of hundreds of nodes are silent', async () => {
    const nodes = Array.from({ length: 300 }, (_, index) => ({
      ...a,
      name: `storage-${index}.example.org`,
      ready: false,
      message: 'm'.repeat(200),
    }));
    const { message = '' } = (await summaryOf(nodes)).conditions?.[0] ?? {};
    expect(message).toMatch(/^storage-0.*; and 295 more$/);
  });

  it('does not count a node whose agent is silent', async () => {
    const silent: { reason?: string } = {};
    const { status, reconcile } = world({ nodes: [a] }, ['a'], () => silent.reason);
    expect(await reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
    expect(status().readyNodes).toBe(1);
    silent.reason = 'silent since then';
    await reconcile();
    expect([status().readyNodes, status().free, status().conditions?.[0]?.message]).toStrictEqual([0, '0', 'a: silent since then']);
  });

  it('does not count a node that the pool does not select, whatever its agent and its AoENode say', async () => {
    const { api, status, reconcile } = world({ nodes: [a, { ...a, name: 'c' }] }, ['a', 'c']);
    const spec = { backend: 'file', directory: '/d', nodeSelector: { disk: 'ssd' } };
    api.put({ ...(api.read<AoEPool>(AOE_POOLS, 'p') as AoEPool), spec } as AoEPool);
    api.put({ kind: 'AoENode', metadata: { name: 'a', labels: { disk: 'ssd' } } });
    api.put({ kind: 'Node', metadata: { name: 'a', labels: { disk: 'hdd' } } } as never);
    api.put({ kind: 'Node', metadata: { name: 'c', labels: { disk: 'ssd', other: 'x' } } } as never);
    await reconcile();
    const { readyNodes, size, nodes, conditions } = status();
    expect([readyNodes, size, nodes?.length]).toStrictEqual([1, '4Gi', 2]);
    expect(conditions?.[0]?.message).toBe('a: nodeSelector of pool p does not match the labels of node a');
    api.remove({ kind: 'Node' }, 'c');
    await reconcile();
    expect(status().readyNodes).toBe(0);
  });

  it('forgets volumes that were given up once their node has been back for an hour', async () => {
    const entry = (node: string) => ({ uid: `u-${node}`, volume: 'v', node });
    const it = world({ nodes: [a], abandoned: ['back', 'silent', 'new', 'away', 'mute', 'down'].map(entry) }, ['a'], ({ metadata }) =>
      metadata.name === 'silent' ? 'silent' : undefined,
    );
    const node = (name: string, creationTimestamp: string, agentSeen: string | undefined) =>
      it.api.put({ kind: 'AoENode', metadata: { name, creationTimestamp }, status: { agentSeen } } as never);
    const [old, recent] = [new Date(Date.now() - 2 * 3600_000).toISOString(), new Date(Date.now() - 1000).toISOString()];
    node('back', old, recent);
    node('silent', old, recent);
    node('new', recent, recent);
    node('mute', old, undefined);
    // Of a volume whose disk was never made, the node may be there all along. This operator has just started, and thinks that its agent reports.
    node('down', old, recent);
    it.api.put({ kind: 'Node', metadata: { name: 'down' }, status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } } as never);
    await it.reconcile();
    expect(it.status().abandoned?.map(({ node: name }) => name)).toStrictEqual(['silent', 'new', 'away', 'mute', 'down']);
    expect(it.status().nodes).toStrictEqual([a]);
  });

  it('writes nothing when nothing has changed', async () => {
    const { api, reconcile } = world({ nodes: [a] }, ['a']);
    await reconcile();
    await reconcile();
    expect(api.written).toHaveLength(1);
  });

  it('leaves it to the watch when the pool was changed meanwhile', async () => {
    const it = world({ nodes: [a, b] }, ['a']);
    it.api.failNext('patch', new KubeError(409, 'Conflict', 'changed'));
    await it.reconcile();
    expect(it.status().nodes).toStrictEqual([a, b]);
    it.api.failNext('patch', new KubeError(500, '', 'broken'));
    await expect(it.reconcile()).rejects.toThrow();
  });
});
