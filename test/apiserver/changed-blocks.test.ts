import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Backend } from '../../agent/backends/backend.ts';
import { Callers } from '../../agent/blocks/caller.ts';
import { BlocksServer } from '../../agent/blocks/server.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOTS, API_VERSION, NODES, type ResourceType } from '../../api/resources.ts';
import { Kube, type KubeObject } from '../../kube/mod.ts';
import { Code, csi, fromInt64, RpcClient } from '../../rpc/mod.ts';
import { type Manifest, render } from '../chart/helm.ts';
import { announceNode } from './objects.ts';
import { Program } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const NAMESPACE = 'aoe';
const NODE = 'storage-1';
const MiB = 1 << 20;
const { v1 } = csi;
const [CONTROLLER = ''] = (await freePorts(1)).map((port) => `127.0.0.1:${port}`);
const type = (plural: string, kind: string, group = '', namespaced = false): ResourceType => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
});
const RBAC = 'rbac.authorization.k8s.io';
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The CSI controller as a process, an agent's service, and a real API server that knows their tokens. Only the blocks are made up. */
describe.skipIf(unavailable)('the SnapshotMetadata service with a real API server', () => {
  const directory = mkdtempSync(join(tmpdir(), 'changed-blocks-'));
  const at = (name: string) => join(directory, name);
  const stop = new AbortController();
  let server: ApiServer;
  let kube: Kube;
  let agentKube: Kube;
  let controller: Program;
  let serving: Promise<void>;
  let client: RpcClient<csi.v1.SnapshotMetadata>;
  serveTests((started) => {
    ({ server, kube } = started);
  });

  async function tokenOf(account: string, audiences: string[]): Promise<string> {
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', metadata: { name: account }, spec: { audiences } };
    const accounts = type(`serviceaccounts/${account}/token`, 'ServiceAccount', '', true);
    return (await kube.create<Manifest>(accounts, request as KubeObject, { namespace: NAMESPACE })).status.token;
  }

  async function snapshot(name: string, status: object): Promise<void> {
    const object = {
      apiVersion: API_VERSION,
      kind: AOE_SNAPSHOTS.kind,
      metadata: { name },
      spec: { volumeName: 'v', deletionPolicy: 'Delete' },
    };
    await kube.create(AOE_SNAPSHOTS, object as KubeObject);
    const whole = { phase: 'Ready', nodeName: NODE, pool: 'thin', volumeUID: 'uid-v', capacity: '64Mi', ...status };
    await kube.apply(AOE_SNAPSHOTS, { metadata: { name }, status: whole } as never, {
      fieldManager: 'test',
      force: true,
      subresource: 'status',
    });
  }

  beforeAll(async () => {
    await kube.create(type('namespaces', 'Namespace'), { metadata: { name: NAMESPACE } });
    const types: Record<string, ResourceType> = {
      ServiceAccount: type('serviceaccounts', 'ServiceAccount', '', true),
      ClusterRole: type('clusterroles', 'ClusterRole', RBAC),
      ClusterRoleBinding: type('clusterrolebindings', 'ClusterRoleBinding', RBAC),
    };
    const manifests = await render({ controller: { snapshotMetadata: { enabled: true } } });
    const ours = manifests.filter(({ kind, metadata }) => types[kind] && /^aoe-csi-(agent|controller|csi-controller)$/.test(metadata.name));
    for (const manifest of ours) await kube.create(types[manifest.kind] as ResourceType, manifest);
    for (const [name, backend] of [
      ['thin', { backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'tp' }],
      ['thick', { backend: 'lvm', volumeGroup: 'vg0' }],
    ] as const)
      await kube.create(AOE_POOLS, { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, spec: backend } as AoEPool);
    await announceNode(kube, NODE);
    await kube.create(NODES, { metadata: { name: NODE } });
    await kube.patch(NODES, NODE, { status: { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] } }, { subresource: 'status' });
    await snapshot('first', { createdAt: '2026-11-01T10:00:00Z' });
    await snapshot('second', { createdAt: '2026-11-01T11:00:00Z' });
    await snapshot('whole', { createdAt: '2026-11-01T11:00:00Z', pool: 'thick' });

    // The agent's own account: the right to ask whose token it is comes from the chart.
    writeFileSync(at('agent.kubeconfig'), server.kubeconfigText(await tokenOf('aoe-csi-agent', [])));
    agentKube = Kube.fromKubeconfig(at('agent.kubeconfig'));
    const uidOf = async (name: string): Promise<string> => (await kube.get(AOE_SNAPSHOTS, name))?.metadata.uid ?? '';
    const [first, second] = [await uidOf('first'), await uidOf('second')];
    const blocks = {
      async *allocated(uid: string) {
        expect(uid).toBe(first);
        yield [{ offset: 0, bytes: 4 * MiB }];
      },
      async *changed(base: string, uid: string) {
        expect([base, uid]).toStrictEqual([first, second]);
        for (let each = 0; each < 500; each++) yield [{ offset: each * 8192, bytes: 4096 }];
      },
    };
    const pool = { metadata: { name: 'thin' } } as AoEPool;
    const blocksServer = new BlocksServer({
      node: NODE,
      listen: '127.0.0.1:0',
      pools: { get: (name) => (name === 'thin' ? pool : undefined), synced: Promise.resolve() },
      backendOf: () => ({ snapshots: { blocks } }) as unknown as Backend,
      callers: new Callers({ kube: agentKube, user: `system:serviceaccount:${NAMESPACE}:aoe-csi-controller` }),
      log: SILENT,
    });
    await new Promise<void>((resolve) => {
      serving = blocksServer.run(stop.signal, resolve);
    });
    const status = { blocks: blocksServer.address };
    await kube.apply(AOE_NODES, { metadata: { name: NODE }, status } as never, {
      fieldManager: 'aoe-csi-agent',
      force: true,
      subresource: 'status',
    });

    await useToken('aoe-csi-controller', ['aoe.dev/agent']);
    const args = [
      `--kubeconfig=${server.kubeconfig}`,
      `--http=${CONTROLLER}`,
      `--endpoint=unix://${at('csi.sock')}`,
      `--agent-token=${at('token')}`,
    ];
    controller = new Program('csi/main.ts', ['controller', ...args]);
    await controller.ready(CONTROLLER);
    client = new RpcClient(v1.SnapshotMetadata, v1, at('csi.sock'));
  });

  afterAll(async () => {
    client?.close();
    stop.abort();
    await serving;
    agentKube?.close();
    await controller?.kill();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The kubelet writes the token; the controller reads it at each call. */
  const useToken = async (account: string, audiences: string[]) => writeFileSync(at('token'), `${await tokenOf(account, audiences)}\n`);

  const allocated = async (snapshotId: string) => {
    const found: number[][] = [];
    const request = v1.GetMetadataAllocatedRequest.create({ snapshotId });
    for await (const { volumeCapacityBytes, blockMetadata } of client.stream('getMetadataAllocated', request, { timeoutMs: 60_000 })) {
      expect(fromInt64(volumeCapacityBytes)).toBe(64 * MiB);
      found.push(...(blockMetadata ?? []).map(({ byteOffset, sizeBytes }) => [fromInt64(byteOffset), fromInt64(sizeBytes)]));
    }
    return found;
  };
  const delta = async (baseSnapshotId: string, targetSnapshotId: string, maxResults = 0) => {
    const sizes: number[] = [];
    const request = v1.GetMetadataDeltaRequest.create({ baseSnapshotId, targetSnapshotId, maxResults });
    for await (const { blockMetadata } of client.stream('getMetadataDelta', request, { timeoutMs: 60_000 }))
      sizes.push(blockMetadata?.length ?? 0);
    return sizes;
  };

  it('is named among the capabilities', async () => {
    const identity = new RpcClient(v1.Identity, v1, at('csi.sock'));
    const { capabilities } = await identity.call('getPluginCapabilities', {});
    identity.close();
    expect(capabilities?.some(({ service }) => service?.type === v1.PluginCapability.Service.Type.SNAPSHOT_METADATA_SERVICE)).toBe(true);
  });

  it('answers with what the agent says, which has checked the token of the controller', async () => {
    expect(await allocated('first')).toStrictEqual([[0, 4 * MiB]]);
    expect(await delta('first', 'second', 200)).toStrictEqual([200, 200, 100]);
  });

  it('answers for thick volumes itself', async () => {
    expect(await allocated('whole')).toStrictEqual([[0, 64 * MiB]]);
    await expect(delta('whole', 'whole')).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
    await expect(delta('first', 'whole')).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
    await expect(allocated('nothing')).rejects.toMatchObject({ code: Code.NOT_FOUND });
  });

  it.each([
    ['of another account', 'aoe-csi-agent', ['aoe.dev/agent'], /may not read/],
    ['for the API server', 'aoe-csi-controller', [], /not valid for audience/],
  ] as const)('gets nothing with a token %s', async (_what, account, audiences, message) => {
    await useToken(account, [...audiences]);
    await expect(allocated('first')).rejects.toMatchObject({ code: Code.UNAVAILABLE, message: expect.stringMatching(message) });
    await useToken('aoe-csi-controller', ['aoe.dev/agent']);
    expect(await allocated('first')).toHaveLength(1);
  });
});
