import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeSpec, AoEVolumeStatus } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { removeGoneNodes } from './gone.ts';

const signal = new AbortController().signal;
const log = createLog('test', 'silent');

/** A volume of these nodes, and watches that see changes only when told to. */
function cluster(
  nodes: string[],
  spec: Partial<AoEVolumeSpec> = {},
  status: AoEVolumeStatus = { initiators: { observedGeneration: 1, nodes } },
) {
  const api = new FakeApi();
  const stores = {
    volumes: api.store<AoEVolume>('AoEVolume'),
    nodes: api.lateStore<never>('AoENode'),
    kubeNodes: api.lateStore<never>('Node'),
  };
  api.put({
    kind: 'AoEVolume',
    metadata: { name: 'v' },
    spec: { access: 'Exclusive', initiators: { nodes }, ...spec },
    status,
  } as AoEVolume);
  return {
    api,
    add: (kind: 'Node' | 'AoENode', { seen }: { seen: boolean }) => {
      api.put({ kind, metadata: { name: 'a' } });
      if (seen) for (const store of [stores.nodes, stores.kubeNodes]) store.catchUp();
    },
    attach: (attacher: string, nodeName: string, attached = true) => {
      const metadata = { name: `${attacher}-${nodeName}` };
      api.put({ kind: 'VolumeAttachment', metadata, spec: { attacher, nodeName }, status: { attached } } as never);
    },
    reconcile: () => removeGoneNodes({ ...stores, kube: api, events: api, log }, 'v', signal),
    nodes: () => api.read<AoEVolume>(AOE_VOLUMES, 'v')?.spec.initiators.nodes,
  };
}

describe('removeGoneNodes', () => {
  it('removes a node that was admitted and no longer exists, and leaves the others', async () => {
    const it = cluster(['gone', 'a'], { access: 'Shared' });
    it.add('AoENode', { seen: true });
    expect(await it.reconcile()).toBeUndefined();
    expect(it.nodes()).toStrictEqual(['a']);
    expect(it.api.events[0]?.reason).toBe('InitiatorGone');
    expect(it.api.events[0]?.message ?? '').toMatch(/^node gone no longer exists/);
    expect(await it.reconcile()).toBeUndefined();
    expect(it.api.events).toHaveLength(1);
  });

  it('leaves a node alone of which there is a Node or an AoENode, also where the watch has not shown it yet', async () => {
    for (const kind of ['Node', 'AoENode'] as const) {
      for (const seen of [true, false]) {
        const it = cluster(['a']);
        it.add(kind, { seen });
        await it.reconcile();
        expect(it.nodes()).toStrictEqual(['a']);
      }
    }
  });

  it('leaves a name alone that never was admitted: a person may have misspelt it', async () => {
    const it = cluster(['wroker'], {}, {});
    expect(await it.reconcile()).toBeUndefined();
    expect(it.nodes()).toStrictEqual(['wroker']);
  });

  it('waits for Kubernetes, which detaches by itself; attachments of others do not count', async () => {
    const it = cluster(['gone']);
    it.attach('other.dev', 'gone');
    it.attach('aoe.dev', 'there');
    it.attach('aoe.dev', 'gone');
    expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
    expect(it.nodes()).toStrictEqual(['gone']);
    it.api.remove({ kind: 'VolumeAttachment' }, 'aoe.dev-gone');
    await it.reconcile();
    expect(it.nodes()).toBeUndefined();
  });

  it('does not wait for an attachment that Kubernetes made after the node was gone: it never becomes attached', async () => {
    const it = cluster(['gone']);
    it.attach('aoe.dev', 'gone', false);
    expect(await it.reconcile()).toBeUndefined();
    expect(it.nodes()).toBeUndefined();
  });

  it('tries again when the volume was changed at the same moment', async () => {
    const it = cluster(['gone']);
    it.api.failNext('patch', new KubeError(409, 'Conflict', 'changed'));
    expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 1000 });
    expect(it.api.events).toStrictEqual([]);
  });

  it('goes by the spec alone for volumes that were given up', async () => {
    const it = cluster(['gone'], {}, {});
    await it.api.patch(AOE_VOLUMES, 'v', { metadata: { annotations: { 'aoe.dev/give-up': 'storage' } } });
    await it.reconcile();
    expect(it.nodes()).toBeUndefined();
  });

  it('goes by the spec alone for external targets', async () => {
    const it = cluster(['gone'], { external: { shelf: 1, slot: 1 } }, {});
    await it.reconcile();
    expect(it.nodes()).toBeUndefined();
  });
});
