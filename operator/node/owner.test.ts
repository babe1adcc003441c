import { AOE_NODES } from '../../api/resources.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { reconcileOwner } from './owner.ts';

const signal = new AbortController().signal;

describe('reconcileOwner', () => {
  const world = () => {
    const api = new FakeApi();
    api.put({ kind: 'AoENode', metadata: { name: 'a' } });
    const stores = { nodes: api.store<never>('AoENode'), kubeNodes: api.store<never>('Node') };
    return {
      api,
      reconcile: () => reconcileOwner({ ...stores, kube: api }, 'a', signal),
      owners: () => api.read(AOE_NODES, 'a')?.metadata.ownerReferences?.map(({ uid }) => uid),
    };
  };

  it('makes the Node the owner, also a new Node of the same name, and writes it once', async () => {
    const it = world();
    for (const uid of ['node-1', 'node-2']) {
      it.api.put({ kind: 'Node', metadata: { name: 'a', uid } });
      await it.reconcile();
      expect(it.owners()).toStrictEqual([uid]);
      await it.reconcile();
    }
    expect(it.api.patches).toBe(2);
  });

  it('leaves an AoENode alone that has no Node', async () => {
    const it = world();
    await it.reconcile();
    expect(it.api.patches).toBe(0);
  });
});
