import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, type ResourceType } from '../../api/resources.ts';
import { DELETE_DATA, VOLUME_FINALIZER } from '../../api/volume.ts';
import { Kube, KubeError, type KubeObject } from '../../kube/mod.ts';
import { type Manifest, render } from '../chart/helm.ts';
import { type ApiServer, serveTests, unavailable } from './server.ts';

const NAMESPACE = 'aoe';
const plain = (kind: string, plural: string, group = '', namespaced = false): ResourceType => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
});
const TYPES: Readonly<Record<string, ResourceType>> = {
  Namespace: plain('Namespace', 'namespaces'),
  ServiceAccount: plain('ServiceAccount', 'serviceaccounts', '', true),
  Pod: plain('Pod', 'pods', '', true),
  ClusterRole: plain('ClusterRole', 'clusterroles', 'rbac.authorization.k8s.io'),
  ClusterRoleBinding: plain('ClusterRoleBinding', 'clusterrolebindings', 'rbac.authorization.k8s.io'),
  ValidatingAdmissionPolicy: plain('ValidatingAdmissionPolicy', 'validatingadmissionpolicies', 'admissionregistration.k8s.io'),
  ValidatingAdmissionPolicyBinding: plain(
    'ValidatingAdmissionPolicyBinding',
    'validatingadmissionpolicybindings',
    'admissionregistration.k8s.io',
  ),
};

/** What somebody can do who has read the token of a pod of ours on node n1, while n2 is another node. */
describe.skipIf(unavailable)('the token of a pod', () => {
  let server: ApiServer;
  let kube: Kube;
  let count = 0;
  const clients: Record<'agent' | 'plugin' | 'unbound', Kube> = {} as never;
  serveTests((started) => {
    ({ server, kube } = started);
  });

  beforeAll(async () => {
    await kube.create(typeOf('Namespace'), { metadata: { name: NAMESPACE } });
    const manifests = await render();
    for (const manifest of manifests.filter(({ kind, metadata }) => TYPES[kind] && /^aoe-csi-(node|nodes|agent)$/.test(metadata.name)))
      await kube.create(typeOf(manifest.kind), manifest);
    clients.agent = await podOf('aoe-csi-agent', 'n1');
    clients.plugin = await podOf('aoe-csi-node', 'n1');
    clients.unbound = withToken(await tokenOf('aoe-csi-agent'));
    await inForce();
  });
  afterAll(() => {
    for (const client of Object.values(clients)) client.close();
  });

  const typeOf = (kind: string): ResourceType => TYPES[kind] ?? AOE_NODES;

  async function tokenOf(account: string, pod?: Manifest): Promise<string> {
    const type = { ...typeOf('ServiceAccount'), plural: `serviceaccounts/${account}/token` };
    const boundObjectRef = pod && { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: pod.metadata.uid };
    const request = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account },
      spec: { audiences: [], boundObjectRef },
    };
    return (await kube.create<Manifest>(type, request, { namespace: NAMESPACE })).status.token;
  }

  async function podOf(account: string, nodeName: string): Promise<Kube> {
    const spec = { serviceAccountName: account, nodeName, containers: [{ name: 'c', image: 'none' }] };
    const metadata = { name: `${account}-${nodeName}`, namespace: NAMESPACE };
    return withToken(await tokenOf(account, await kube.create<Manifest>(typeOf('Pod'), { metadata, spec } as KubeObject)));
  }

  function withToken(token: string): Kube {
    const path = join(server.directory, `kubeconfig-${++count}`);
    writeFileSync(path, server.kubeconfigText(token));
    return Kube.fromKubeconfig(path);
  }

  /** The API server takes a moment to know a new policy. */
  async function inForce(): Promise<void> {
    const signal = AbortSignal.timeout(120_000);
    const apply = (client: Kube, name: string) =>
      refusal(client.apply(AOE_NODES, { metadata: { name }, spec: {} }, { fieldManager: 'test', force: true, signal }));
    // Before it knows the roles, it refuses everything.
    const known = async (): Promise<boolean> =>
      /cannot be written with a token of node/.test((await apply(clients.agent, 'n2')) ?? '') &&
      (await apply(clients.agent, 'n1')) === undefined &&
      (await apply(clients.plugin, 'n1')) === undefined;
    while (!(await known())) await delay(100, undefined, { signal });
  }

  /** Why the API server refuses it; undefined when it does not. */
  async function refusal(write: Promise<unknown>): Promise<string | undefined> {
    try {
      await write;
      return undefined;
    } catch (error) {
      if (!(error instanceof KubeError) || (error.code !== 422 && error.code !== 403)) throw error;
      return error.message;
    }
  }
  /** One that the operator has placed, when the spec names a node. */
  const volume = async (spec: { nodeName?: string; [field: string]: unknown }, { isPlaced = spec.nodeName !== undefined } = {}) => {
    const metadata = { name: `v${++count}`, ...(isPlaced ? { finalizers: [VOLUME_FINALIZER] } : {}) };
    await kube.create(AOE_VOLUMES, { metadata, spec: { capacity: '1Gi', pool: 'default', ...spec } } as KubeObject);
    return metadata.name;
  };
  const status = (client: Kube, type: ResourceType, name: string, part: object) =>
    refusal(client.patch(type, name, { status: part }, { subresource: 'status' }));

  it('makes and reports its own AoENode, and no other', async () => {
    const node = (name: string) => ({ metadata: { name }, spec: {} });
    for (const client of [clients.agent, clients.plugin]) {
      const apply = (name: string) => refusal(client.apply(AOE_NODES, node(name), { fieldManager: 'test', force: true }));
      expect(await apply('n1')).toBeUndefined();
      expect(await apply('n3')).toMatch('AoENode n3 cannot be written with a token of node n1');
    }
    const interfaces = [{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500 }];
    expect(await status(clients.plugin, AOE_NODES, 'n1', { interfaces })).toBeUndefined();
    await kube.apply(AOE_NODES, node('n2'), { fieldManager: 'test' });
    expect(await status(clients.plugin, AOE_NODES, 'n2', { interfaces })).toMatch('a token of node n1');
    expect(await refusal(clients.agent.patch(AOE_NODES, 'n1', { spec: { maintenance: true } }))).toMatch('is for people');
  });

  it('of a node plugin writes nothing of its AoENode that makes a storage node of it, and an agent asks for no evidence', async () => {
    const say = (client: Kube, part: object) => status(client, AOE_NODES, 'n1', part);
    const heard = [{ node: 'n2', question: 'q', silentSeconds: 0, hears: 9, of: 9 }];
    const ofAgent = [{ heard }, { targets: 1 }, { agentSeen: '2026-11-28T08:00:00Z' }, { blocks: { port: 1, certificate: 'c' } }];
    const ofPlugin = [{ segment: 'default' }, { heartbeatSeconds: 5 }];
    const suspicion = { question: 'q' };
    for (const part of [...ofAgent, { suspicion }]) expect(await say(clients.plugin, part)).toMatch('A node plugin writes status.segment');
    for (const part of ofPlugin) expect(await say(clients.plugin, part)).toBeUndefined();
    for (const part of ofAgent) expect(await say(clients.agent, part)).toBeUndefined();
    for (const part of [{ segment: 's2' }, { heartbeatSeconds: 9 }, { suspicion }])
      expect(await say(clients.agent, part)).toMatch('An agent writes status.interfaces');
    expect(await say(kube, { suspicion })).toBeUndefined();
    expect(await say(clients.plugin, { suspicion: null })).toMatch('A node plugin writes status.segment');
    const condition = { status: 'True', reason: 'Test', message: '', lastTransitionTime: '2026-11-28T08:00:00Z' };
    expect(await say(clients.plugin, { conditions: [{ ...condition, type: 'InitiatorReady' }] })).toBeUndefined();
  });

  it('of an agent writes the status of the volumes of its node, and no other', async () => {
    const [own, other, unplaced] = [await volume({ nodeName: 'n1' }), await volume({ nodeName: 'n2' }), await volume({})];
    expect(await status(clients.agent, AOE_VOLUMES, own, { address: 'e1.1' })).toBeUndefined();
    expect(await status(clients.agent, AOE_VOLUMES, other, { address: 'e1.1' })).toMatch(/is neither on node n1 nor in use there/);
    expect(await status(clients.agent, AOE_VOLUMES, unplaced, { address: 'e1.1' })).toMatch(/is neither on node n1/);
  });

  it('of an agent writes nothing of a volume for which somebody has asked for its node, before the operator has placed it there', async () => {
    const asked = await volume({ nodeName: 'n1', address: { shelf: 1, slot: 78 } }, { isPlaced: false });
    const isNot = 'is neither on node n1';
    expect(await status(clients.agent, AOE_VOLUMES, asked, { capacity: '1Gi' })).toMatch(isNot);
    const patch = (client: Kube, finalizers: string[]) => refusal(client.patch(AOE_VOLUMES, asked, { metadata: { finalizers } }));
    expect(await patch(clients.agent, [VOLUME_FINALIZER])).toMatch(isNot);
    expect(await patch(kube, [VOLUME_FINALIZER])).toBeUndefined();
    expect(await status(clients.agent, AOE_VOLUMES, asked, { capacity: '1Gi' })).toBeUndefined();
    expect(await patch(clients.agent, [])).toBeUndefined();
  });

  it('of an agent writes status.move of a volume that is moved to its node or from it, and nothing else there', async () => {
    const copy = { id: '0123abcd', stage: 'Copying', nodeName: 'n1', pool: 'default' };
    const moved = await volume({ nodeName: 'n2', address: { shelf: 1, slot: 77 }, move: copy });
    const own = await volume({ nodeName: 'n1' });
    const move = { id: copy.id, nodeName: 'n1', phase: 'Copying', bytesDone: 0, bytesTotal: 1 };
    expect(await status(clients.agent, AOE_VOLUMES, moved, { move })).toBeUndefined();
    expect(await status(clients.agent, AOE_VOLUMES, moved, { capacity: '1Gi' })).toMatch('writes status.move only');
    expect(await status(clients.agent, AOE_VOLUMES, own, { move })).toMatch('Only the agent on the node in spec.move');
    expect(await refusal(clients.agent.patch(AOE_VOLUMES, moved, { metadata: { finalizers: ['aoe.dev/x'] } }))).toMatch(
      'neither on node n1',
    );
    expect(await refusal(clients.agent.patch(AOE_VOLUMES, own, { spec: { move: { ...copy, nodeName: 'n2' } } }))).toMatch(
      'changes nothing else',
    );
  });

  it('of an agent changes nothing in the spec of a volume, except that it takes the holder of a broken lock away', async () => {
    const own = await volume({ nodeName: 'n1', initiators: { nodes: ['n2', 'n3'] } });
    const patch = (change: object) => refusal(clients.agent.patch(AOE_VOLUMES, own, change));
    expect(await patch({ metadata: { annotations: { x: 'y' }, finalizers: [VOLUME_FINALIZER, 'aoe.dev/volume'] } })).toBeUndefined();
    expect(await patch({ spec: { initiators: { nodes: ['n3'] } } })).toBeUndefined();
    expect(await patch({ spec: { initiators: { nodes: ['n3', 'n1'] } } })).toMatch('changes nothing else in the spec');
    expect(await patch({ spec: { initiators: { macs: ['02:00:00:00:00:01'] } } })).toMatch('changes nothing else in the spec');
    expect(await patch({ spec: { deletionPolicy: 'Retain' } })).toMatch('changes nothing else in the spec');
    expect(await patch({ spec: { initiators: null } })).toBeUndefined();
  });

  it('of an agent does not name pods that a takeover would delete, and leaves the note of one that goes on', async () => {
    const own = await volume({ nodeName: 'n1', initiators: { nodes: ['n2'] } });
    const annotate = (client: Kube, value: string | null) =>
      refusal(client.patch(AOE_VOLUMES, own, { metadata: { annotations: { 'aoe.dev/taken-from': value } } }));
    const note = (uid: string) => JSON.stringify({ node: 'n2', pods: [uid], attachments: [] });
    expect(await annotate(clients.agent, note('a'))).toMatch('does not say from which node');
    expect(await annotate(kube, note('a'))).toBeUndefined();
    expect(await annotate(clients.agent, note('b'))).toMatch('does not say from which node');
    expect(await annotate(clients.agent, null)).toMatch('does not say from which node');
    const change = { metadata: { annotations: { x: 'y' }, finalizers: [VOLUME_FINALIZER, 'aoe.dev/volume'] } };
    expect(await refusal(clients.agent.patch(AOE_VOLUMES, own, change))).toBeUndefined();
    expect(await annotate(kube, null)).toBeUndefined();
    expect(await refusal(clients.agent.patch(AOE_VOLUMES, own, { metadata: { annotations: null } }))).toBeUndefined();
    expect(await annotate(clients.agent, note('a'))).toMatch('does not say from which node');
  });

  it('of an agent has no volume, snapshot or node deleted for an owner that is not there, and does not let go of data that people keep', async () => {
    const own = await volume({ nodeName: 'n1' });
    await kube.create(AOE_SNAPSHOTS, { metadata: { name: 'owned' }, spec: { volumeName: own } } as KubeObject);
    expect(await status(kube, AOE_SNAPSHOTS, 'owned', { nodeName: 'n1' })).toBeUndefined();
    await kube.apply(AOE_NODES, { metadata: { name: 'n1' }, spec: {} } as KubeObject, { fieldManager: 'test' });
    const write = (client: Kube, type: ResourceType, name: string, metadata: object) => refusal(client.patch(type, name, { metadata }));
    const owned = (uid: string) => [{ apiVersion: 'v1', kind: 'Node', name: 'gone', uid }];
    const [ownerReferences, present, labels] = [owned('a'), owned('b'), { x: 'y' }];
    for (const [type, name] of [
      [AOE_VOLUMES, own],
      [AOE_SNAPSHOTS, 'owned'],
      [AOE_NODES, 'n1'],
    ] as const) {
      for (const change of [{ ownerReferences }, { labels }])
        expect(await write(clients.agent, type, name, change), type.kind).toMatch('neither owners nor labels');
      expect(await write(kube, type, name, { ownerReferences: present, labels }), type.kind).toBeUndefined();
      for (const change of [{ ownerReferences: null }, { ownerReferences }, { labels: null }])
        expect(await write(clients.agent, type, name, change), type.kind).toMatch('neither owners nor labels');
      expect(await write(clients.agent, type, name, { annotations: labels }), type.kind).toBeUndefined();
      expect(await write(kube, type, name, { ownerReferences: null, labels: null }), type.kind).toBeUndefined();
    }
    expect(await write(clients.agent, AOE_VOLUMES, own, { annotations: { [DELETE_DATA]: 'u' } })).toMatch('is for people to say');
    expect(await write(kube, AOE_VOLUMES, own, { annotations: { [DELETE_DATA]: 'u' } })).toBeUndefined();
    expect(await write(clients.agent, AOE_VOLUMES, own, { annotations: { [DELETE_DATA]: null } })).toMatch('is for people to say');
  });

  it('of a node plugin writes what the file system of a volume is that its node may use, and nothing else', async () => {
    const own = await volume({ nodeName: 'n2', initiators: { nodes: ['n1'] } });
    const other = await volume({ nodeName: 'n2', initiators: { nodes: ['n2'] } });
    const here = await volume({ nodeName: 'n1' });
    const filesystem = { type: 'ext4', state: 'Formatted' };
    expect(await status(clients.plugin, AOE_VOLUMES, own, { filesystem, luks: { uuid: 'u', state: 'Formatted' } })).toBeUndefined();
    const reclaim = { request: '', scheduled: true, node: 'worker-1', state: 'Running' };
    expect(await status(clients.plugin, AOE_VOLUMES, own, { reclaim })).toBeUndefined();
    for (const name of [other, here]) expect(await status(clients.plugin, AOE_VOLUMES, name, { filesystem })).toMatch(/nor in use there/);
    expect(await status(clients.plugin, AOE_VOLUMES, own, { address: 'e1.2' })).toMatch(
      'writes status.filesystem, status.luks and status.reclaim of an AoEVolume only',
    );
    const external = await kube.create(AOE_VOLUMES, {
      metadata: { name: 'external' },
      spec: { external: { shelf: 1, slot: 2 }, initiators: { nodes: ['n1'] } },
    } as KubeObject);
    const holder = { name: 'node n1', node: 'n1', raw: 'x' };
    expect(await status(clients.plugin, AOE_VOLUMES, external.metadata.name, { filesystem })).toBeUndefined();
    for (const part of [{ serial: 'S1' }, { holder }, { holder: null }])
      expect(await status(clients.plugin, AOE_VOLUMES, external.metadata.name, part)).toBeUndefined();
    expect(await status(clients.plugin, AOE_VOLUMES, external.metadata.name, { address: 'e1.2' })).toMatch('and of an external one also');
    for (const part of [{ serial: 'S1' }, { holder }])
      expect(await status(clients.plugin, AOE_VOLUMES, own, part)).toMatch(
        'writes status.filesystem, status.luks and status.reclaim of an AoEVolume only',
      );
  });

  it('of a node plugin says nothing about an external volume of another node, and once it was detached only that it has the lock no more', async () => {
    const spec = { capacity: undefined, pool: undefined, external: { shelf: 1, slot: 3 } };
    const luks = { uuid: 'u', state: 'Formatted' };
    const holder = { name: 'node n1', node: 'n1', raw: 'x' };
    const foreign = await volume({ ...spec, initiators: { nodes: ['n2'] } });
    const detached = await volume(spec);
    for (const name of [foreign, detached]) {
      await kube.patch(AOE_VOLUMES, name, { status: { serial: 'S1', luks } }, { subresource: 'status' });
      for (const part of [{ serial: 'S2' }, { luks: { ...luks, state: 'Formatting' } }, { luks: null }, { holder }])
        expect(await status(clients.plugin, AOE_VOLUMES, name, part)).toMatch(/nor in use there/);
    }
    await kube.patch(AOE_VOLUMES, detached, { status: { holder } }, { subresource: 'status' });
    for (const part of [{ serial: 'S2' }, { luks: null }, { holder: null, serial: null }, { holder: { ...holder, raw: 'y' } }])
      expect(await status(clients.plugin, AOE_VOLUMES, detached, part)).toMatch('only says that it has its lock no more');
    expect(await status(clients.plugin, AOE_VOLUMES, detached, { holder: null })).toBeUndefined();
    expect(await status(clients.plugin, AOE_VOLUMES, detached, { holder: null })).toMatch(/nor in use there/);
  });

  it('of a node plugin does not call the disk of a volume unformatted that others may be using, too', async () => {
    const shared = await volume({ nodeName: 'n2', access: 'Shared', initiators: { nodes: ['n1', 'n2'] } });
    const say = (state: string) => status(clients.plugin, AOE_VOLUMES, shared, { luks: { uuid: 'u', state } });
    expect(await say('Formatted')).toBeUndefined();
    expect(await say('Formatting')).toMatch('formats an Exclusive AoEVolume only');
    const filesystem = { type: 'ext4', state: 'Formatting' };
    expect(await status(clients.plugin, AOE_VOLUMES, shared, { filesystem })).toMatch('formats an Exclusive AoEVolume only');
  });

  it('of an agent writes a snapshot that is on its node, or that the operator lets it take there, and nothing in its spec', async () => {
    const snapshot = async (part?: object): Promise<string> => {
      const name = `s${++count}`;
      await kube.create(AOE_SNAPSHOTS, { metadata: { name }, spec: { volumeName: 'v' } } as KubeObject);
      if (part) expect(await status(kube, AOE_SNAPSHOTS, name, part)).toBeUndefined();
      return name;
    };
    const [fresh, elsewhere] = [await snapshot(), await snapshot({ assignedNode: 'n2' })];
    const [own, other] = [await snapshot({ assignedNode: 'n1' }), await snapshot({ assignedNode: 'n1', nodeName: 'n2' })];
    const finalizers = { metadata: { finalizers: ['aoe.dev/backing-snapshot'] } };
    const report = (name: string, part: object) => status(clients.agent, AOE_SNAPSHOTS, name, part);
    const patch = (name: string, change: object) => refusal(clients.agent.patch(AOE_SNAPSHOTS, name, change));
    for (const name of [fresh, elsewhere, other]) {
      for (const part of [
        { nodeName: 'n1', pool: 'p' },
        { assignedNode: 'n1' },
        { assignedNode: 'n1', nodeName: 'n1' },
        { phase: 'Ready' },
      ])
        expect(await report(name, part)).toMatch('is not on node n1');
      expect(await patch(name, finalizers)).toMatch('is not on node n1');
    }
    expect(await patch(own, finalizers)).toMatch('is not on node n1');
    expect(await report(own, { nodeName: 'n2' })).toMatch('on its own node only');
    expect(await report(own, { nodeName: 'n1', assignedNode: 'n2' })).toMatch('does not say which node is to take');
    expect(await report(own, { nodeName: 'n1', pool: 'p' })).toBeUndefined();
    expect(await patch(own, finalizers)).toBeUndefined();
    expect(await status(kube, AOE_SNAPSHOTS, own, { assignedNode: null })).toBeUndefined();
    expect(await report(own, { phase: 'Ready' })).toBeUndefined();
    expect(await report(own, { assignedNode: 'n2' })).toMatch('does not say which node is to take');
    expect(await patch(own, { spec: { deletionPolicy: 'Retain' } })).toMatch('changes nothing in the spec');
    expect(await status(clients.plugin, AOE_SNAPSHOTS, own, { capacity: '1Gi' })).toBeDefined();
  });

  it('of a node plugin answers a snapshot that asks its node for a freeze, and writes nothing else; of an agent asks, and does not answer', async () => {
    const snapshot = async (nodeName?: string): Promise<string> => {
      const name = `s${++count}`;
      await kube.create(AOE_SNAPSHOTS, { metadata: { name }, spec: { volumeName: 'v', freeze: true } } as KubeObject);
      const freeze = { id: 'f1', stage: 'Freezing', ...(nodeName ? { nodeName } : {}) };
      await kube.patch(AOE_SNAPSHOTS, name, { status: { nodeName: 'n2', freeze } }, { subresource: 'status' });
      return name;
    };
    const frozen = { id: 'f1', nodeName: 'n1', state: 'Frozen' };
    const [own, other, done] = [await snapshot('n1'), await snapshot('n2'), await snapshot()];
    expect(await status(clients.plugin, AOE_SNAPSHOTS, own, { frozen })).toBeUndefined();
    expect(await status(clients.plugin, AOE_SNAPSHOTS, own, { frozen: { ...frozen, state: 'Thawed', throughout: true } })).toBeUndefined();
    for (const name of [other, done])
      expect(await status(clients.plugin, AOE_SNAPSHOTS, name, { frozen })).toMatch('does not ask it for a freeze');
    expect(await status(clients.plugin, AOE_SNAPSHOTS, own, { frozen: { ...frozen, nodeName: 'n2' } })).toMatch('on its own node');
    for (const part of [{ phase: 'Ready' }, { freeze: { id: 'f2', stage: 'Freezing', nodeName: 'n1' } }, { nodeName: 'n1' }])
      expect(await status(clients.plugin, AOE_SNAPSHOTS, own, { frozen, ...part })).toMatch('writes status.frozen of an AoESnapshot only');
    expect(await refusal(clients.plugin.patch(AOE_SNAPSHOTS, own, { metadata: { labels: { x: 'y' } } }))).toBeDefined();

    const taken = await snapshot();
    await kube.patch(AOE_SNAPSHOTS, taken, { status: { nodeName: 'n1' } }, { subresource: 'status' });
    const freeze = { id: 'f3', stage: 'Freezing', nodeName: 'n2' };
    expect(await status(clients.agent, AOE_SNAPSHOTS, taken, { freeze })).toBeUndefined();
    expect(await status(clients.agent, AOE_SNAPSHOTS, taken, { frozen })).toMatch('An agent does not say what a node has frozen');
    // The plugin watches those that ask its node.
    const { items } = await clients.plugin.list(AOE_SNAPSHOTS, { fieldSelector: 'status.freeze.nodeName=n1' });
    expect(items.map(({ metadata }) => metadata.name)).toEqual([own]);
  });

  it('of an agent says how far a member of a group is, and neither commits it nor writes to its group', async () => {
    const group = { metadata: { name: 'group' }, spec: { members: [{ volumeName: 'v' }] } };
    const { uid = '' } = (await kube.create(AOE_SNAPSHOT_GROUPS, group as KubeObject)).metadata;
    const member = { metadata: { name: 'group-0' }, spec: { volumeName: 'v', group: { name: 'group', uid } } };
    await kube.create(AOE_SNAPSHOTS, member as KubeObject);
    expect(await status(kube, AOE_SNAPSHOTS, 'group-0', { assignedNode: 'n1' })).toBeUndefined();
    const report = (part: object) => status(clients.agent, AOE_SNAPSHOTS, 'group-0', { nodeName: 'n1', ...part });
    expect(await report({ member: { step: 'Held', hold: 1 } })).toBeUndefined();
    expect(await report({ committed: true })).toMatch('does not commit');
    expect(await report({ copyServed: { shelf: 9, slot: 1 } })).toBeUndefined();
    const mac = '02:00:5e:10:00:01';
    for (const part of [{ copyAddress: { shelf: 9, slot: 1 } }, { copies: [{ volume: 'v', node: 'n2', macs: [mac] }] }])
      expect(await report(part)).toMatch('does not say who copies');
    expect(await status(clients.agent, AOE_SNAPSHOT_GROUPS, 'group', { stage: 'Committed' })).toBeDefined();
  });

  it('of an agent writes the entry of its node in a pool, and no other', async () => {
    await kube.create(AOE_POOLS, { metadata: { name: 'pool' }, spec: { backend: 'lvm', volumeGroup: 'vg0' } } as KubeObject);
    const entry = (name: string, free = '1Gi') => ({ name, ready: true, size: '1Gi', free, message: '' });
    const apply = (nodes: object[], more: object = {}) =>
      refusal(
        clients.agent.apply(
          AOE_POOLS,
          { metadata: { name: 'pool' }, status: { nodes, ...more } },
          { fieldManager: `test-${++count}`, force: true, subresource: 'status' },
        ),
      );
    const both = { nodes: [entry('n0'), entry('n2')] };
    await kube.apply(AOE_POOLS, { metadata: { name: 'pool' }, status: both }, { fieldManager: 'test', subresource: 'status' });
    expect(await apply([entry('n1')])).toBeUndefined();
    expect(await apply([entry('n1', '512Mi')])).toBeUndefined();
    expect(await apply([entry('n2', '512Mi')])).toMatch('the entry of its own node only');
    expect(await apply([entry('n3')])).toMatch('the entry of its own node only');
    expect(await apply([entry('n1')], { size: '1Ti' })).toMatch('the entry of its own node only');
  });

  it('that was not made for a pod writes nothing', async () => {
    const own = await volume({ nodeName: 'n1' });
    expect(await status(clients.unbound, AOE_VOLUMES, own, { address: 'e1.1' })).toMatch('does not say on which node its pod runs');
  });

  it('does not matter to the other programs: the policy is about these two', async () => {
    const own = await volume({ nodeName: 'n1' });
    expect(await status(kube, AOE_VOLUMES, own, { address: 'e1.1' })).toBeUndefined();
  });
});
