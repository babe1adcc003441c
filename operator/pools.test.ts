import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AoENode } from '../api/node.ts';
import type { AoEPool, AoEPoolStatus } from '../api/pool.ts';
import { API_VERSION } from '../api/resources.ts';
import { KubeError } from '../kube/mod.ts';
import { reconcilePool } from './pools.ts';

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
    nodes: { get: (name: string) => (present.includes(name) ? ({ metadata: { name } } as AoENode) : undefined) },
  };
  return { written, reconcile: () => reconcilePool(options, 'p', signal) };
}

const a = { name: 'a', ready: true, size: '4Gi', free: '1Gi' };
const b = { name: 'b', ready: false, size: '4Gi', free: '4Gi' };

describe('reconcilePool', () => {
  it('takes out the entry of a node that is gone, and sums up the rest', async () => {
    const { written, reconcile } = world({ nodes: [a, b] }, ['a']);
    await reconcile();
    assert.deepEqual(written, [{ nodes: [a] }, { readyNodes: 1, size: '4Gi', free: '1Gi' }]);
  });

  it('counts nodes only on which the pool can be used', async () => {
    const { written, reconcile } = world({ nodes: [a, b] }, ['a', 'b']);
    await reconcile();
    assert.deepEqual(written, [{ readyNodes: 1, size: '4Gi', free: '1Gi' }]);
  });

  it('writes nothing when all is said', async () => {
    const { written, reconcile } = world({ nodes: [a], readyNodes: 1, size: '4Gi', free: '1Gi' }, ['a']);
    await reconcile();
    assert.deepEqual(written, []);
  });

  it('leaves it to the watch when the pool was changed meanwhile', async () => {
    await world({ nodes: [a, b] }, ['a'], new KubeError(409, 'Conflict', 'changed')).reconcile();
    await assert.rejects(world({ nodes: [a, b] }, ['a'], new KubeError(500, '', 'broken')).reconcile());
  });
});
