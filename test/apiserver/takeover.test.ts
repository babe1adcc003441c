import type { AoENode } from '../../api/node.ts';
import {
  AOE_NODES,
  AOE_VOLUMES,
  API_VERSION,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  VOLUME_ATTACHMENTS,
} from '../../api/resources.ts';
import { type AoEVolume, takenFrom } from '../../api/volume.ts';
import { Informer, type Kube, type KubeObject, type ResourceType } from '../../kube/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { endOf, type Program, startOperator } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const HTTP = `127.0.0.1:${(await freePorts(1))[0]}`;
/** The operator waits for ten seconds before it decides anything. */
const LIMIT = { timeoutMs: 120_000 };
const SERVICE_ACCOUNTS: ResourceType = { group: '', version: 'v1', plural: 'serviceaccounts', kind: 'ServiceAccount', namespaced: true };
const STORAGE = ['storage-1', 'storage-2'];
const WORKERS = ['worker-1', 'worker-2'];
const at = '2026-01-01T00:00:00Z';

describe.skipIf(unavailable)('automatic takeover with a real API server', () => {
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let agent: FakeAgent;
  let volumes: Informer<AoEVolume>;
  let nodes: Informer<AoENode>;
  /** For how long the target of each storage node has not heard worker-1. */
  const silentSeconds: Record<string, number> = { 'storage-1': 60, 'storage-2': 60 };
  const questions: string[] = [];
  const errors: unknown[] = [];
  const stop = new AbortController();
  const running: Promise<void>[] = [];

  const start = (after: string) => startOperator(server, HTTP, '--shelves=1-2', `--takeover-after=${after}`);

  const ready = (name: string, isReady: boolean) =>
    kube.patch(
      NODES,
      name,
      { status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'Unknown', lastTransitionTime: at }] } },
      { subresource: 'status' },
    );

  const addNode = async (name: string) => {
    await kube.create(NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name } });
    await ready(name, true);
    await announceNode(kube, name);
    const target = { type: 'TargetReady', status: 'True', reason: 'Serving', message: 'a fake', lastTransitionTime: at };
    const status = { heartbeatSeconds: 5, ...(STORAGE.includes(name) ? { conditions: [target] } : {}) };
    await kube.patch(AOE_NODES, name, { status }, { subresource: 'status' });
  };

  /** Plays the agents: each question is answered once. */
  const answer = async ({ metadata, status }: AoENode): Promise<void> => {
    const question = status?.suspicion?.question;
    if (question === undefined || questions.includes(question)) return;
    questions.push(question);
    for (const name of STORAGE) {
      const heard = [{ node: metadata.name, question, silentSeconds: silentSeconds[name] ?? 0, hears: 2, of: 2 }];
      const object = { apiVersion: API_VERSION, kind: AOE_NODES.kind, metadata: { name }, status: { heard } };
      await kube.apply(AOE_NODES, object, { fieldManager: 'aoe-csi-agent-heard', force: true, subresource: 'status' });
    }
  };

  /** A volume that worker-1 has, with a pod that uses it, as Kubernetes would have made them. */
  const use = async (name: string, { more = [], takeoverAfter }: { more?: object[]; takeoverAfter?: string } = {}) => {
    await kube.create(AOE_VOLUMES, volume(name, { capacity: '4Mi', ...(takeoverAfter ? { takeoverAfter } : {}) }));
    await volumes.waitFor(name, (now) => (now?.status?.capacity === undefined ? undefined : now), LIMIT);
    await kube.patch(AOE_VOLUMES, name, { spec: { initiators: { nodes: ['worker-1'] } } });
    const capacity = { storage: '4Mi' };
    const access = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: 'default', name };
    const csi = { driver: 'aoe.dev', volumeHandle: name };
    await kube.create(PERSISTENT_VOLUMES, { metadata: { name: `pv-${name}` }, spec: { ...access, capacity, claimRef, csi } } as KubeObject);
    const claim = { ...access, resources: { requests: capacity }, volumeName: `pv-${name}` };
    await kube.create(PERSISTENT_VOLUME_CLAIMS, { metadata: { name, namespace: 'default' }, spec: claim } as KubeObject);
    const attachment = { attacher: 'aoe.dev', nodeName: 'worker-1', source: { persistentVolumeName: `pv-${name}` } };
    await kube.create(VOLUME_ATTACHMENTS, { metadata: { name: `csi-${name}` }, spec: attachment } as KubeObject);
    const mounted = [{ name: 'data', persistentVolumeClaim: { claimName: name } }, { name: 'tmp', emptyDir: {} }, ...more];
    const containers = [{ name: 'c', image: 'none' }];
    const pod = { nodeName: 'worker-1', containers, volumes: mounted, automountServiceAccountToken: false };
    // Pods without a controller stay.
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'set', uid: 'uid-set', controller: true }];
    await kube.create(PODS, { metadata: { name, namespace: 'default', ownerReferences }, spec: pod } as KubeObject);
    await volumes.waitFor(name, (now) => (now?.status?.initiators?.nodes?.includes('worker-1') ? now : undefined), LIMIT);
  };

  const state = async (name: string) => ({
    pod: (await kube.get(PODS, name, { namespace: 'default' })) !== undefined,
    attachment: (await kube.get(VOLUME_ATTACHMENTS, `csi-${name}`)) !== undefined,
    admitted: (await kube.get<AoEVolume>(AOE_VOLUMES, name))?.status?.initiators?.nodes ?? [],
  });
  const KEPT = { pod: true, attachment: true, admitted: ['worker-1'] };
  const ended = async (name: string) => {
    const isEnded = (now: AoEVolume | undefined) =>
      now && !now.spec.initiators.nodes?.length && !takenFrom(now) && !now.status?.initiators?.nodes?.length ? now : undefined;
    try {
      await volumes.waitFor(name, isEnded, LIMIT);
    } catch (cause) {
      const now = JSON.stringify([volumes.get(name), await state(name)], undefined, 1);
      throw new Error(`the takeover of ${name} has not ended:\n${now}\n${operator.log.slice(-3_000)}`, { cause });
    }
  };

  serveTests(
    async (started) => {
      ({ server, kube } = started);
      volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
      nodes = new Informer<AoENode>(kube, AOE_NODES);
      let turn = Promise.resolve();
      nodes.subscribe(({ type, object }) => {
        if (type === 'applied')
          turn = turn.then(() => answer(object)).catch((error: unknown) => void (stop.signal.aborted || errors.push(error)));
      });
      agent = new FakeAgent(kube);
      running.push(volumes.run(stop.signal), nodes.run(stop.signal), agent.run(stop.signal));
      await kube.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: 'default' } } as KubeObject).catch(() => {});
      await makePool(kube, 'default');
      for (const name of [...STORAGE, ...WORKERS]) await addNode(name);
      for (const name of STORAGE) await reportPool(kube, 'default', { name, ready: true, size: '40Gi', free: '40Gi', granularity: '4Mi' });
      operator = start('20s');
      await operator.ready(HTTP);
    },
    endOf(stop, running, () => operator),
  );

  it('does nothing about a node that is heard, though it is not Ready', async () => {
    await use('heard');
    silentSeconds['storage-2'] = 3;
    await ready('worker-1', false);
    // Two questions: the second comes after the answer to the first was weighed.
    await nodes.waitFor('worker-1', () => (questions.length >= 2 ? true : undefined), LIMIT);
    expect(await state('heard')).toStrictEqual(KEPT);
    await ready('worker-1', true);
    await nodes.waitFor('worker-1', (now) => (now && !now.status?.suspicion ? now : undefined), LIMIT);
    silentSeconds['storage-2'] = 60;
  });

  it('does nothing when half of the nodes are not Ready', async () => {
    const asked = questions.length;
    await Promise.all([ready('worker-1', false), ready('worker-2', false)]);
    const metrics = async () => (await fetch(`http://${HTTP}/metrics`)).text();
    const limit = Date.now() + LIMIT.timeoutMs;
    while (!/^aoe_csi_takeover_held\{node="worker-1",reason="TooManySilent"\} 1$/m.test(await metrics())) {
      if (Date.now() > limit) throw new Error(`not held:\n${await metrics()}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(questions).toHaveLength(asked);
    expect(await state('heard')).toStrictEqual(KEPT);
    await Promise.all([ready('worker-1', true), ready('worker-2', true)]);
  });

  it('takes the volumes of a silent node: node cut off, pod and attachment gone; a pod with another volume stays, and one of a volume that says Never', async () => {
    await use('mixed', { more: [{ name: 'host', hostPath: { path: '/tmp' } }] });
    await use('never', { takeoverAfter: 'Never' });
    await use('silent');
    await ready('worker-1', false);
    await ended('silent');
    expect(await state('silent')).toStrictEqual({ pod: false, attachment: false, admitted: [] });
    expect(await state('mixed')).toStrictEqual(KEPT);
    expect(await state('never')).toStrictEqual(KEPT);
    await ready('worker-1', true);
  });

  it('ends what another leader has begun, and without a value of the cluster takes a volume that has its own', async () => {
    await use('begun');
    await use('own', { takeoverAfter: '300s' });
    await use('default');
    await operator.kill();
    const [pod, attachment] = [await kube.get(PODS, 'begun', { namespace: 'default' }), await kube.get(VOLUME_ATTACHMENTS, 'csi-begun')];
    const taken = { node: 'worker-1', pods: [pod?.metadata.uid], attachments: [attachment?.metadata.uid] };
    const annotations = { 'aoe.dev/taken-from': JSON.stringify(taken) };
    await kube.patch(AOE_VOLUMES, 'begun', { metadata: { annotations }, spec: { initiators: { nodes: null } } });
    await ready('worker-1', false);
    operator = start('Never');
    await operator.ready(HTTP);
    await ended('begun');
    expect(await state('begun')).toStrictEqual({ pod: false, attachment: false, admitted: [] });
    // The change is enough: nobody has to wait for the 240 s that are missing.
    await kube.patch(AOE_VOLUMES, 'own', { spec: { takeoverAfter: '20s' } });
    await ended('own');
    expect(await state('default')).toStrictEqual(KEPT);
    await ready('worker-1', true);
  });

  it('has seen no error in the fake agents', () => expect([...errors, ...agent.errors]).toStrictEqual([]));
});
