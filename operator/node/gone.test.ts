import type { AoEVolume, AoEVolumeSpec, AoEVolumeStatus } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { createLog } from '../../run/log.ts';
import { GoneNodes } from './gone.ts';
import { reconcileOwner } from './owner.ts';

const signal = new AbortController().signal;

/** An API server with one volume, and names of the Nodes, AoENodes and attachments that it has. */
class FakeCluster {
  volume: AoEVolume;
  /** What the watches know; the API server may know more. */
  readonly seen = { machines: new Set<string>(), nodes: new Set<string>() };
  readonly live = { machines: new Set<string>(), nodes: new Set<string>() };
  attached: { attacher: string; nodeName: string }[] = [];
  conflict = false;
  readonly events: string[] = [];

  constructor(
    nodes: string[],
    spec: Partial<AoEVolumeSpec> = {},
    status: AoEVolumeStatus = { initiators: { observedGeneration: 1, nodes } },
  ) {
    const metadata = { name: 'v', uid: 'u', resourceVersion: '1' };
    this.volume = { metadata, spec: { access: 'Exclusive', initiators: { nodes }, ...spec }, status } as AoEVolume;
  }

  reconcile() {
    const has = (names: Set<string>) => ({ get: (name: string) => (names.has(name) ? ({ metadata: { name } } as never) : undefined) });
    const kube = {
      get: async ({ kind }: { kind: string }, name: string) => has(kind === 'Node' ? this.live.machines : this.live.nodes).get(name),
      list: async () => ({ items: this.attached.map((spec) => ({ spec })) }),
      patch: async (_type: object, _name: string, patch: { spec: { initiators: { nodes: string[] | null } } }) => {
        if (this.conflict) throw new KubeError(409, 'Conflict', 'changed');
        this.volume = { ...this.volume, spec: { ...this.volume.spec, initiators: { nodes: patch.spec.initiators.nodes ?? [] } } };
        return this.volume;
      },
    };
    return new GoneNodes({
      kube: kube as never,
      volumes: { get: () => this.volume },
      nodes: has(this.seen.nodes),
      machines: has(this.seen.machines),
      events: { event: (_object, _type, reason, message) => this.events.push(`${reason}: ${message}`) },
      log: createLog('test', 'error'),
    }).reconcile('v', signal);
  }

  get nodes(): string[] | undefined {
    return this.volume.spec.initiators.nodes;
  }
}

describe('GoneNodes', () => {
  it('takes out a node that was in force and does not exist any more, and leaves the others', async () => {
    const cluster = new FakeCluster(['gone', 'there'], { access: 'Shared' });
    cluster.seen.nodes.add('there');
    expect(await cluster.reconcile()).toBeUndefined();
    expect(cluster.nodes).toStrictEqual(['there']);
    expect(cluster.events.join()).toMatch(/^InitiatorGone: node gone does not exist any more/);
    expect(await cluster.reconcile()).toBeUndefined();
    expect(cluster.events).toHaveLength(1);
  });

  it('leaves a node alone of which there is a Node or an AoENode, also where the watch does not know it yet', async () => {
    for (const store of ['machines', 'nodes'] as const) {
      for (const known of ['seen', 'live'] as const) {
        const cluster = new FakeCluster(['a']);
        cluster[known][store].add('a');
        await cluster.reconcile();
        expect(cluster.nodes).toStrictEqual(['a']);
      }
    }
  });

  it('leaves a name alone that never was in force: a person may have misspelt it', async () => {
    const cluster = new FakeCluster(['wroker'], {}, {});
    expect(await cluster.reconcile()).toBeUndefined();
    expect(cluster.nodes).toStrictEqual(['wroker']);
  });

  it('waits for Kubernetes, which detaches by itself, and does not mind the attachments of others', async () => {
    const cluster = new FakeCluster(['gone']);
    cluster.attached = [{ attacher: 'aoe.dev', nodeName: 'gone' }];
    expect(await cluster.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
    expect(cluster.nodes).toStrictEqual(['gone']);
    cluster.attached = [
      { attacher: 'other.dev', nodeName: 'gone' },
      { attacher: 'aoe.dev', nodeName: 'there' },
    ];
    await cluster.reconcile();
    expect(cluster.nodes).toStrictEqual([]);
  });

  it('looks again when the volume was changed at the same moment', async () => {
    const cluster = new FakeCluster(['gone']);
    cluster.conflict = true;
    expect(await cluster.reconcile()).toStrictEqual({ requeueAfterMs: 1000 });
    expect(cluster.events).toStrictEqual([]);
  });

  it('goes by the spec alone for external targets', async () => {
    const cluster = new FakeCluster(['gone'], { external: { shelf: 1, slot: 1 } }, {});
    await cluster.reconcile();
    expect(cluster.nodes).toStrictEqual([]);
  });
});

describe('reconcileOwner', () => {
  const owner = { apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'machine-1' };
  const run = async (owners: object[] | undefined, uid: string | undefined) => {
    const patches: object[] = [];
    const kube = { patch: async (_type: object, _name: string, patch: object) => patches.push(patch) };
    const nodes = { get: () => ({ metadata: { name: 'a', uid: 'n', ownerReferences: owners } }) };
    const machines = { get: () => (uid ? { metadata: { name: 'a', uid } } : undefined) };
    await reconcileOwner({ kube, nodes, machines } as never, 'a', signal);
    return patches;
  };

  it('makes the Node the owner, also a Node made anew, and writes it once', async () => {
    expect(await run(undefined, 'machine-1')).toStrictEqual([{ metadata: { uid: 'n', ownerReferences: [owner] } }]);
    expect(await run([owner], 'machine-2')).toStrictEqual([{ metadata: { uid: 'n', ownerReferences: [{ ...owner, uid: 'machine-2' }] } }]);
    expect(await run([owner], 'machine-1')).toStrictEqual([]);
  });

  it('leaves an AoENode alone that has no Node', async () => {
    expect(await run(undefined, undefined)).toStrictEqual([]);
  });
});
