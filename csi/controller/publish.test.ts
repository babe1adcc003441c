import type { AoENode } from '../../api/node.ts';
import { API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { csi } from '../../rpc/mod.ts';
import { Code } from '../../rpc/status.ts';
import { BusyVolumes } from '../busy-volumes.ts';
import type { Deps } from './deps.ts';
import { publishVolume, unpublishVolume } from './publish.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const mount = { mount: { fsType: '' }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } };
const block = { block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } };
const call = () => ({ signal: new AbortController().signal, deadline: Date.now() + 20_000 });

/** One volume in an API server, and a target that does at once what its spec says. */
class FakeCluster {
  volume: AoEVolume | undefined;
  /** How many of the next patches come too late, since somebody else wrote first. */
  conflicts = 0;
  /** The volume is deleted while the next patch is on its way. */
  deletedMeanwhile = false;
  patches = 0;
  readonly events: string[] = [];
  /** The Node of whoever is asked for. */
  machine: object | undefined;

  constructor(spec: Partial<AoEVolumeSpec> = {}) {
    this.volume = {
      apiVersion: API_VERSION,
      kind: 'AoEVolume',
      metadata: { name: 'v', uid: 'u', generation: 1, resourceVersion: '1', finalizers: [VOLUME_FINALIZER] },
      spec: {
        access: 'Exclusive',
        initiators: {},
        deletionPolicy: 'Delete',
        nodeName: 'storage',
        address: { shelf: 7, slot: 3 },
        ...spec,
      },
      status: { serial: 'S' },
    };
  }

  get nodes(): string[] | undefined {
    return this.volume?.spec.initiators.nodes;
  }

  get deps(): Deps {
    const node = (name: string): AoENode | undefined =>
      name === 'stranger' ? undefined : { apiVersion: API_VERSION, kind: 'AoENode', metadata: { name }, spec: { maintenance: false } };
    return {
      kube: {
        get: async ({ kind }: { kind: string }, name: string) =>
          kind === 'Node' ? this.machine && { metadata: { name }, ...this.machine } : name === 'v' ? this.volume : undefined,
        patch: this.#patch,
      },
      events: { event: (_object: unknown, _type: string, reason: string, message: string) => this.events.push(`${reason}: ${message}`) },
      volumes: { waitFor: async (_name: string, ask: (object: AoEVolume | undefined) => unknown) => ask(this.#seen()) },
      nodes: { get: node },
      busy: new BusyVolumes(),
      log: { warn() {} },
    } as unknown as Deps;
  }

  readonly #patch = async (_type: unknown, _name: string, { spec }: { spec: { initiators: { nodes: string[] | null } } }) => {
    this.patches++;
    if (this.deletedMeanwhile) this.volume = undefined;
    if (!this.volume) throw new KubeError(404, 'NotFound', 'no such volume');
    if (this.conflicts-- > 0) throw new KubeError(409, 'Conflict', 'changed meanwhile');
    const { nodes } = spec.initiators;
    const generation = (this.volume.metadata.generation ?? 0) + 1;
    this.volume = {
      ...this.volume,
      metadata: { ...this.volume.metadata, generation },
      spec: { ...this.volume.spec, initiators: nodes ? { nodes } : {} },
    };
    return this.volume;
  };

  #seen(): AoEVolume | undefined {
    if (!this.volume) return undefined;
    const observedGeneration = this.volume.metadata.generation ?? 0;
    return { ...this.volume, status: { ...this.volume.status, initiators: { observedGeneration, nodes: this.nodes ?? [] } } };
  }
}

const publish = (cluster: FakeCluster, request: csi.v1.IControllerPublishVolumeRequest = {}) =>
  publishVolume(cluster.deps, { volumeId: 'v', nodeId: 'a', volumeCapability: mount, ...request }, call());
const unpublish = (cluster: FakeCluster, nodeId = 'a') => unpublishVolume(cluster.deps, { volumeId: 'v', nodeId }, call());

describe('publishVolume', () => {
  it('lets a node in, and says all that the node must know', async () => {
    const cluster = new FakeCluster();
    const { publishContext } = await publish(cluster);
    expect(cluster.nodes).toStrictEqual(['a']);
    expect(publishContext).toStrictEqual({ address: 'e7.3', serial: 'S', volumeUID: 'u', access: 'Exclusive', external: 'false' });
  });

  it('writes nothing for a node that is in already', async () => {
    const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
    await publish(cluster);
    expect(cluster.patches).toBe(0);
  });

  it('names the node that has an Exclusive volume', async () => {
    const cluster = new FakeCluster({ initiators: { nodes: ['b'] } });
    await expect(publish(cluster)).rejects.toMatchObject({
      code: Code.FAILED_PRECONDITION,
      message: expect.stringMatching(/held by node b/),
    });
    expect(cluster.events.join()).toMatch(/^PublishRefused: node a is not let in: AoEVolume v is held by node b/);
  });

  it('lets nobody in while somebody else answers at the address, and keeps who is in', async () => {
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes: ['b'] } });
    const conflict = {
      type: 'AddressConflict',
      status: 'True' as const,
      reason: 'AnsweredByOther',
      message: '02:66 answers at e7.3, too',
      lastTransitionTime: '',
    };
    cluster.volume = { ...cluster.volume, status: { conditions: [conflict] } } as AoEVolume;
    await expect(publish(cluster, { volumeCapability: block })).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: expect.stringMatching(/02:66 answers at e7\.3, too/),
    });
    await publish(cluster, { volumeCapability: block, nodeId: 'b' });
    expect(cluster.patches).toBe(0);
  });

  it('decides again when the volume was changed meanwhile, though not for ever', async () => {
    const cluster = new FakeCluster();
    cluster.conflicts = 3;
    await publish(cluster);
    expect(cluster.patches).toBe(4);
    const contended = new FakeCluster();
    contended.conflicts = 100;
    await expect(publish(contended)).rejects.toMatchObject({ code: Code.ABORTED });
  });

  const wrong: [string, csi.v1.IControllerPublishVolumeRequest][] = [
    ['a capability that the volume does not have', { volumeCapability: block }],
    ['readonly', { readonly: true }],
  ];
  for (const [what, request] of wrong) {
    it(`refuses ${what}: INVALID_ARGUMENT, and ALREADY_EXISTS where the node has the volume`, async () => {
      await expect(publish(new FakeCluster(), request)).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
      const published = new FakeCluster({ initiators: { nodes: ['a'] } });
      await expect(publish(published, request)).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
      expect(published.patches).toBe(0);
    });
  }

  it('does not find volumes and nodes that are not there', async () => {
    await expect(publish(new FakeCluster(), { volumeId: 'w', readonly: true })).rejects.toMatchObject({ code: Code.NOT_FOUND });
    await expect(publish(new FakeCluster(), { nodeId: 'stranger' })).rejects.toMatchObject({ code: Code.NOT_FOUND });
  });
});

describe('publishVolume of a volume that somebody outside has', () => {
  it('names the string, which is respected', async () => {
    const cluster = new FakeCluster();
    cluster.volume = { ...cluster.volume, status: { holder: { name: '"net…"', raw: 'net.corvus.apple 1' } } } as AoEVolume;
    await expect(publish(cluster)).rejects.toMatchObject({
      code: Code.FAILED_PRECONDITION,
      message: expect.stringMatching(/somebody who wrote "net\.corvus\.apple 1"/),
    });
    expect(cluster.patches).toBe(0);
  });

  it('goes by the wire alone for external targets', async () => {
    const cluster = new FakeCluster({ external: { shelf: 1, slot: 1 } });
    cluster.volume = { ...cluster.volume, status: { holder: { raw: 'net.corvus.apple 1' } } } as AoEVolume;
    await publish(cluster);
    expect(cluster.nodes).toStrictEqual(['a']);
  });

  it('lets nobody into an external volume that may not be what it says', async () => {
    const cluster = new FakeCluster({ external: { shelf: 1, slot: 1 } });
    const placed = {
      type: 'Placed',
      status: 'False' as const,
      reason: 'SerialTaken',
      message: 'AoEVolume w has that serial',
      lastTransitionTime: '',
    };
    cluster.volume = { ...cluster.volume, status: { conditions: [placed] } } as AoEVolume;
    await expect(publish(cluster)).rejects.toMatchObject({
      code: Code.FAILED_PRECONDITION,
      message: expect.stringMatching(/has that serial/),
    });
  });
});

describe('unpublishVolume of a node that has the lock', () => {
  const holder = { name: 'a', node: 'a', since: '2026-01-01T00:00:00Z', raw: 'lock' };
  const taint = { key: 'node.kubernetes.io/out-of-service', value: 'nodeshutdown', effect: 'NoExecute' };
  const silent = { type: 'Ready', status: 'Unknown', lastTransitionTime: '2026-02-02T00:00:00Z' };
  const states: [string, object | undefined, RegExp][] = [
    ['was deleted', undefined, /does not exist any more/],
    ['is out of service', { spec: { taints: [taint] }, status: { conditions: [silent] } }, /out-of-service=nodeshutdown/],
    ['is silent', { status: { conditions: [silent] } }, /not Ready since 2026-02-02/],
    ['is well', { status: { conditions: [{ ...silent, status: 'True' }] } }, /deleted by force/],
  ];
  for (const [what, machine, message] of states) {
    it(`says why when the node ${what}`, async () => {
      const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
      cluster.volume = { ...cluster.volume, status: { holder } } as AoEVolume;
      cluster.machine = machine;
      await unpublish(cluster);
      expect(cluster.nodes).toBeUndefined();
      expect(cluster.events.join()).toMatch(/^DetachedInUse: detached from node a, which has the lock since 2026-01-01/);
      expect(cluster.events.join()).toMatch(message);
    });
  }

  it('tells nothing of one that has given it back, or was detached before', async () => {
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
  it('takes one node, and leaves the others', async () => {
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes: ['a', 'b'] } });
    await unpublish(cluster);
    expect(cluster.nodes).toStrictEqual(['b']);
  });

  it('takes all nodes when none is named', async () => {
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes: ['a', 'b'] } });
    await unpublish(cluster, '');
    expect(cluster.nodes).toBeUndefined();
  });

  it('is done when the volume is deleted meanwhile', async () => {
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
