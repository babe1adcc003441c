import type { AoENode } from '../../api/node.ts';
import type { AoEPool, AoEPoolStatus, PoolNode } from '../../api/pool.ts';
import { API_VERSION } from '../../api/resources.ts';
import { KubeError } from '../../kube/mod.ts';
import { reconcilePool } from './reconciler.ts';

const signal = new AbortController().signal;

function world(status: AoEPoolStatus, present: string[], error?: Error) {
  const pool: AoEPool = {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name: 'p', resourceVersion: '7' },
    spec: { backend: 'file', directory: '/d' },
    status,
  };
  const written: unknown[] = [];
  const write = async (object: unknown): Promise<never> => {
    if (error) throw error;
    written.push((object as AoEPool).status);
    return object as never;
  };
  const options = {
    kube: {
      patch: (_type: unknown, _name: string, patch: object) => write(patch),
      apply: (_type: unknown, object: unknown) => write(object),
    },
    pools: { get: () => pool },
    agents: { silent: (): string | undefined => undefined, limitMs: 300_000 },
    nodes: { get: (name: string) => (present.includes(name) ? ({ metadata: { name } } as AoENode) : undefined) },
  };
  return { written, options, reconcile: () => reconcilePool(options, 'p', signal) };
}

const a = { name: 'a', ready: true, size: '4Gi', free: '1Gi' };
const b = { name: 'b', ready: false, size: '4Gi', free: '4Gi', message: 'no volume group vg0' };

/** What is written of a pool with these entries, each of a node that is there. */
async function summaryOf(nodes: PoolNode[]): Promise<AoEPoolStatus> {
  const { written, reconcile } = world(
    { nodes },
    nodes.map(({ name }) => name),
  );
  await reconcile();
  return written.at(-1) as AoEPoolStatus;
}

describe('reconcilePool', () => {
  it('takes out the entry of a node that is gone, and sums up the rest', async () => {
    const { written, reconcile } = world({ nodes: [a, b] }, ['a']);
    await reconcile();
    expect(written[0]).toStrictEqual({ nodes: [a] });
    const { readyNodes, size, free } = written[1] as AoEPoolStatus;
    expect([readyNodes, size, free]).toStrictEqual([1, '4Gi', '1Gi']);
  });

  it('counts nodes only on which the pool can be used', async () => {
    const { readyNodes, size, free } = await summaryOf([a, b]);
    expect([readyNodes, size, free]).toStrictEqual([1, '4Gi', '1Gi']);
  });

  it('says whether the pool can be used, and what is wrong where', async () => {
    const full = { ...a, message: 'data is 96 % full' };
    const table: [PoolNode[], string, RegExp][] = [
      [[], 'False NoNode', /aoe.dev\/storage=true/],
      [[b], 'False NotReady', /^b: no volume group vg0$/],
      [[a, b], 'True NeedsAttention', /^b: no volume group vg0$/],
      [[full, b], 'True NeedsAttention', /^a: data is 96 % full; b: no volume group vg0$/],
      [[{ ...a, name: 'c' }, a], 'True Ready', /^can be used on a, c$/],
    ];
    for (const [nodes, verdict, message] of table) {
      const [condition] = (await summaryOf(nodes)).conditions ?? [];
      expect(`${condition?.status} ${condition?.reason}`).toBe(verdict);
      expect(condition?.message ?? '').toMatch(message);
    }
  });

  it('counts a node for nothing whose agent is silent', async () => {
    const { written, options } = world({ nodes: [a] }, ['a']);
    const requeue = { requeueAfterMs: 60_000 };
    expect(await reconcilePool(options, 'p', signal)).toStrictEqual(requeue);
    expect(await reconcilePool({ ...options, agents: { silent: () => 'silent since then', limitMs: 300_000 } }, 'p', signal)).toStrictEqual(
      requeue,
    );
    const [before, after] = written as AoEPoolStatus[];
    expect([before?.readyNodes, after?.readyNodes, after?.free]).toStrictEqual([1, 0, '0']);
    expect(after?.conditions?.[0]?.message).toBe('a: silent since then');
  });

  it('writes nothing when all is said', async () => {
    const said = await summaryOf([a]);
    const { written, reconcile } = world({ ...said, nodes: [a] }, ['a']);
    await reconcile();
    expect(written).toStrictEqual([]);
  });

  it('leaves it to the watch when the pool was changed meanwhile', async () => {
    await world({ nodes: [a, b] }, ['a'], new KubeError(409, 'Conflict', 'changed')).reconcile();
    await expect(world({ nodes: [a, b] }, ['a'], new KubeError(500, '', 'broken')).reconcile()).rejects.toThrow();
  });
});
