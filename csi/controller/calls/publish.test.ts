import { type AoEVolume, MAX_NODES } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { block, call, FakeCluster, mount, placedVolume } from '../testing/fake-cluster.ts';
import { publishVolume } from './publish.ts';

const publish = (cluster: FakeCluster, request: csi.v1.IControllerPublishVolumeRequest = {}) =>
  publishVolume(cluster.deps, { volumeId: 'v', nodeId: 'a', volumeCapability: mount, ...request }, call());

describe('publishVolume of a volume that was given up, or is to be moved', () => {
  it.each(['aoe.dev/give-up', 'aoe.dev/move-to'])('is refused: %s', async (annotation) => {
    const cluster = new FakeCluster();
    const metadata = { ...cluster.volume?.metadata, annotations: { [annotation]: 'storage' } };
    cluster.volume = { ...cluster.volume, metadata } as AoEVolume;
    const request = { volumeId: 'v', nodeId: 'a', volumeCapability: mount };
    await expect(publishVolume(cluster.deps, request, call())).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
    expect(cluster.nodes).toBeUndefined();
  });
});

describe('publishVolume of a volume whose data is being copied to another place', () => {
  it('is refused until that ends, and the message says how it is ended', async () => {
    const cluster = new FakeCluster();
    const move = { id: '0123abcd', stage: 'Copying', nodeName: 'storage-2', pool: 'thin' };
    cluster.volume = { ...cluster.volume, spec: { ...cluster.volume?.spec, move } } as AoEVolume;
    const message = expect.stringMatching(/being moved to pool thin on node storage-2.*kubectl annotate aoev v aoe.dev\/move-to-/);
    await expect(publish(cluster)).rejects.toMatchObject({ code: Code.UNAVAILABLE, message });
    expect(cluster.nodes).toBeUndefined();
  });
});

describe('publishVolume of the disk of an external target', () => {
  const external = { shelf: 55, slot: 5 };
  const copying = (status: object, shelf = 55): AoEVolume => {
    const made = placedVolume({ spec: { source: { external: { shelf, slot: 5 } } } });
    return { ...made, metadata: { ...made.metadata, name: 'copy' }, status } as AoEVolume;
  };

  it('is refused while it is copied into another volume, which the message names', async () => {
    const cluster = new FakeCluster({ external });
    cluster.others = [copying({})];
    const message = expect.stringMatching(/its disk is being copied into AoEVolume copy, .*deleting copy ends that/);
    await expect(publish(cluster)).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION, message });
    expect(cluster.nodes).toBeUndefined();
  });

  it('is taken back when a copy was placed meanwhile, but not from a node that had it before', async () => {
    const cluster = new FakeCluster({ external, access: 'Shared', initiators: { nodes: ['b'] } });
    cluster.unseen = [copying({})];
    const message = expect.stringMatching(/its disk is being copied into AoEVolume copy/);
    await expect(publish(cluster, { volumeCapability: block })).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION, message });
    expect(cluster.nodes).toStrictEqual(['b']);
    expect(cluster.events.join()).toMatch(/^PublishRefused: node a is not admitted: .*copied into AoEVolume copy/);
    await publish(cluster, { volumeCapability: block, nodeId: 'b' });
    expect(cluster.nodes).toStrictEqual(['b']);
  });

  it.each([copying({ capacity: '1Gi' }), copying({}, 56)])(
    'is possible once the copy is whole, and while another disk is copied',
    async (other) => {
      const cluster = new FakeCluster({ external });
      cluster.others = [other];
      await publish(cluster);
      expect(cluster.nodes).toStrictEqual(['a']);
    },
  );
});

describe('publishVolume', () => {
  it('admits a node, and passes on all that the node needs', async () => {
    const cluster = new FakeCluster();
    const { publishContext } = await publish(cluster);
    expect(cluster.nodes).toStrictEqual(['a']);
    expect(publishContext).toStrictEqual({ address: 'e7.3', serial: 'S', volumeUID: 'u', access: 'Exclusive', external: 'false' });
  });

  it('writes nothing for a node that is admitted already', async () => {
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
    expect(cluster.events.join()).toMatch(/^PublishRefused: node a is not admitted: AoEVolume v is held by node b/);
  });

  it('attaches a Shared volume to as many nodes as its spec holds, and says so to the next one', async () => {
    const nodes = Array.from({ length: MAX_NODES - 1 }, (_, index) => `node-${index}`);
    const cluster = new FakeCluster({ access: 'Shared', initiators: { nodes } });
    await publish(cluster, { volumeCapability: block });
    expect(cluster.nodes).toHaveLength(MAX_NODES);
    await expect(publish(cluster, { nodeId: 'next', volumeCapability: block })).rejects.toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
      message: expect.stringMatching(/v is attached to 64 nodes, and cannot be attached to more at once: node next must wait until/),
    });
    expect(cluster.events.join()).toMatch(/^PublishRefused: node next is not admitted: /);
    await publish(cluster, { nodeId: 'node-1', volumeCapability: block });
  });

  it('admits no further node while another target answers at the address, and keeps the present ones', async () => {
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

  it('decides again when the volume was changed meanwhile, a limited number of times', async () => {
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

describe('publishVolume of a volume with a lock from outside the cluster', () => {
  it('names the config string, and does not overwrite it', async () => {
    const cluster = new FakeCluster();
    cluster.volume = { ...cluster.volume, status: { holder: { name: '"net…"', raw: 'net.corvus.apple 1' } } } as AoEVolume;
    await expect(publish(cluster)).rejects.toMatchObject({
      code: Code.FAILED_PRECONDITION,
      message: expect.stringMatching(/somebody who wrote "net\.corvus\.apple 1"/),
    });
    expect(cluster.patches).toBe(0);
  });

  it('ignores the recorded holder of an external target', async () => {
    const cluster = new FakeCluster({ external: { shelf: 1, slot: 1 } });
    cluster.volume = { ...cluster.volume, status: { holder: { raw: 'net.corvus.apple 1' } } } as AoEVolume;
    await publish(cluster);
    expect(cluster.nodes).toStrictEqual(['a']);
  });

  it('admits no node to an external volume that may be another disk', async () => {
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

describe('publishVolume to a node that cannot mount volumes', () => {
  const notReady = {
    type: 'InitiatorReady',
    status: 'False' as const,
    reason: 'NoDriver',
    message: "the kernel's aoe driver cannot be loaded",
    lastTransitionTime: '',
  };

  it('is refused with the reason, and the volume stays free for another node', async () => {
    const cluster = new FakeCluster();
    cluster.nodeConditions = [notReady];
    await expect(publish(cluster)).rejects.toMatchObject({
      code: Code.FAILED_PRECONDITION,
      message: expect.stringMatching(/not attached to node a, which cannot mount volumes: the kernel's aoe driver cannot be loaded/),
    });
    expect(cluster.patches).toBe(0);
  });

  it('is repeated for a node that has the volume already', async () => {
    const cluster = new FakeCluster({ initiators: { nodes: ['a'] } });
    cluster.nodeConditions = [notReady];
    expect((await publish(cluster)).publishContext.address).toBe('e7.3');
  });
});
