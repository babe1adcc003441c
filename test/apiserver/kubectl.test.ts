import { execFile, execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BREAK_LOCK } from '../../api/volume.ts';
import { EventRecorder, type Kube, type KubeObject } from '../../kube/mod.ts';
import {
  AOE_VOLUMES,
  CLAIMS,
  NODES,
  PERSISTENT_VOLUMES,
  PODS,
  type ResourceType,
  STORAGE_CLASSES,
  VOLUME_ATTACHMENTS,
} from '../../kubectl/cluster/objects.ts';
import { bundlePlugin } from '../../scripts/bundle-plugin.ts';
import { KIT } from '../testbed/kit.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { type ApiServer, serveTests, unavailable } from './server.ts';

const core = (kind: string, plural: string, namespaced: boolean): ResourceType => ({ group: '', version: 'v1', plural, kind, namespaced });
const NAMESPACES = core('Namespace', 'namespaces', false);
const SERVICE_ACCOUNTS = core('ServiceAccount', 'serviceaccounts', true);
const SECRETS = core('Secret', 'secrets', true);
const rbac = (kind: string, plural: string): ResourceType => ({
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural,
  kind,
  namespaced: false,
});
const SINCE = '2026-11-28T11:00:00Z';

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The plugin as it is released, called by kubectl, on a real API server. */
describe.skipIf(unavailable ?? (existsSync(join(KIT, 'kubectl')) ? undefined : 'kubectl is not built'))('kubectl aoe', () => {
  let server: ApiServer;
  let kube: Kube;
  serveTests((started) => {
    ({ server, kube } = started);
  });

  /** @param kubeconfig whose rights it has; the administrator's when absent */
  function aoe(args: readonly string[], kubeconfig = server.kubeconfig): Promise<Ended> {
    const env = {
      ...process.env,
      KUBECONFIG: kubeconfig,
      PATH: `${server.directory}:${KIT}:${dirname(process.execPath)}:${process.env.PATH}`,
    };
    return new Promise((resolve) => {
      const child = execFile('kubectl', ['aoe', ...args], { env, timeout: 180_000 }, (_error, out, err) =>
        resolve({ code: child.exitCode ?? -1, out, err }),
      );
      child.stdin?.end();
    });
  }

  const create = (type: ResourceType, name: string, rest: object = {}, namespace?: string) =>
    kube.create(type, { metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, ...rest } as KubeObject);

  beforeAll(async () => {
    await bundlePlugin(join(server.directory, 'kubectl-aoe'));
    for (const name of ['shop', 'aoe-csi']) {
      await create(NAMESPACES, name);
      await create(SERVICE_ACCOUNTS, 'default', {}, name);
    }
    for (const name of ['storage-1', 'worker-1']) {
      await create(NODES, name);
      const condition = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastTransitionTime: SINCE };
      await kube.patch(NODES, name, { status: { conditions: [condition] } }, { subresource: 'status' });
      await announceNode(kube, name);
    }
    await makePool(kube, 'default');
    await reportPool(kube, 'default', {
      name: 'storage-1',
      ready: true,
      size: '10Gi',
      free: '8Gi',
      orphaned: '1Gi',
      orphans: ['lost.img'],
      volumes: 1,
    });
    await create(STORAGE_CLASSES, 'aoe', { provisioner: 'aoe.dev' });
    await kube.create(
      AOE_VOLUMES,
      volume('pvc-1', { nodeName: 'storage-1', address: { shelf: 7, slot: 3 }, initiators: { nodes: ['worker-1'] } }),
    );
    const condition = (type: string, reason: string, message: string) => ({
      type,
      status: 'True',
      reason,
      message,
      lastTransitionTime: SINCE,
    });
    const status = {
      phase: 'Ready',
      address: 'e7.3',
      capacity: '1Gi',
      holder: { name: 'worker-1', node: 'worker-1', since: SINCE, raw: 'aoe.dev/1 node=worker-1' },
      conditions: [condition('Placed', 'Placed', 'on storage-1 at e7.3'), condition('Ready', 'Exported', 'exported by storage-1')],
    };
    await kube.patch(AOE_VOLUMES, 'pvc-1', { status }, { subresource: 'status' });
    const size = { storage: '1Gi' };
    await create(PERSISTENT_VOLUMES, 'pvc-1', {
      spec: {
        capacity: size,
        accessModes: ['ReadWriteOnce'],
        csi: { driver: 'aoe.dev', volumeHandle: 'pvc-1' },
        claimRef: { namespace: 'shop', name: 'data' },
      },
    });
    await create(
      CLAIMS,
      'data',
      { spec: { storageClassName: 'aoe', accessModes: ['ReadWriteOnce'], resources: { requests: size }, volumeName: 'pvc-1' } },
      'shop',
    );
    await kube.patch(CLAIMS, 'data', { status: { phase: 'Bound' } }, { subresource: 'status', namespace: 'shop' });
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
    await create(PODS, 'web', { spec: { nodeName: 'worker-1', containers: [{ name: 'main', image: 'x' }], volumes } }, 'shop');
    await kube.create(PODS, {
      metadata: {
        name: 'aoe-csi-agent-x',
        namespace: 'aoe-csi',
        labels: { 'app.kubernetes.io/name': 'aoe-csi', 'app.kubernetes.io/component': 'agent' },
      },
      spec: { nodeName: 'storage-1', containers: [{ name: 'agent', image: 'x', env: [{ name: 'WORD', value: 'xyzzy-env' }] }] },
    } as KubeObject);
    await create(SECRETS, 'hidden', { stringData: { word: 'xyzzy-secret' } }, 'shop');
    await create(VOLUME_ATTACHMENTS, 'csi-1', {
      spec: { attacher: 'aoe.dev', nodeName: 'worker-1', source: { persistentVolumeName: 'pvc-1' } },
    });
  });

  it('shows the state of the whole', async () => {
    const { out, err, code } = await aoe(['status', '--exit-code']);
    expect(err).toBe('');
    expect(code).toBe(1);
    // Neither kubelet nor operator is here: the agent's pod does not run, and nobody has reported on the pool.
    expect(out).toMatch(/^NOT WELL/);
    expect(out).toMatch(/^ {2}pod aoe-csi\/aoe-csi-agent-x: Pending: /m);
    expect(out).toMatch(/^ {2}namespace aoe-csi: NoPod: there is no controller pod in it/m);
    expect(out).toMatch(/^ {2}Ready +1 +1Gi$/m);
    expect(out).toMatch('1 orphaned backing volumes and snapshots: kubectl aoe orphans');
    expect((await aoe(['status'])).code).toBe(0);
  });

  it('gets a volume by its claim, its pod and its name alike', async () => {
    const [byClaim, byPod, byName] = await Promise.all(
      ['pvc:shop/data', 'pod:shop/web', 'pvc-1'].map((subject) => aoe(['get', subject, '-o', 'json'])),
    );
    expect(byClaim?.code).toBe(0);
    expect(JSON.parse(byClaim?.out ?? '').volumes).toMatchObject([
      { name: 'pvc-1', claimName: 'shop/data', pods: [{ name: 'web', node: 'worker-1' }] },
    ]);
    for (const other of [byPod, byName])
      expect(JSON.parse(other?.out ?? '').volumes[0].volume).toStrictEqual(JSON.parse(byClaim?.out ?? '').volumes[0].volume);
    expect(await aoe(['get', 'pvc:shop/none'])).toStrictEqual({ code: 1, out: '', err: 'kubectl aoe: there is no claim shop/none\n' });
    expect((await aoe(['get', 'node:x'])).code).toBe(2);
  });

  it('follows the path, lists locks and orphans', async () => {
    expect((await aoe(['path', 'pod:shop/web'])).out).toMatch(/^attachment +WRONG +not attached to worker-1 yet$/m);
    expect((await aoe(['locks'])).out).toMatch(/^pvc-1 +shop\/data +worker-1 +\S+ +Ready +-$/m);
    expect((await aoe(['orphans'])).out).toMatch(/^ {2}default +storage-1 +\/d +lost\.img$/m);
    expect((await aoe(['check', 'node', 'worker-1'])).out).toMatch(/^node +ok +worker-1 is Ready$/m);
  });

  const annotation = async () => (await kube.get(AOE_VOLUMES, 'pvc-1'))?.metadata.annotations?.[BREAK_LOCK];

  it('refuses to break the lock of another holder, and writes nothing', async () => {
    const { code, err } = await aoe(['break-lock', 'pvc-1', '--holder=worker-2']);
    expect(code).toBe(1);
    expect(err).toBe('the lock of volume pvc-1 is held by worker-1, not by "worker-2": nothing was done\n');
    expect(await annotation()).toBeUndefined();
    expect((await aoe(['break-lock', 'pvc-1'])).code).toBe(2);
  });

  it('gives the order to break a lock, and tells the event of the agent', async () => {
    const running = aoe(['break-lock', 'pvc:shop/data', '--holder=worker-1']);
    const signal = AbortSignal.timeout(120_000);
    // What the agent does.
    while ((await annotation()) !== 'worker-1') await delay(50, undefined, { signal });
    const object = await kube.patch<KubeObject>(AOE_VOLUMES, 'pvc-1', { metadata: { annotations: { [BREAK_LOCK]: null } } });
    new EventRecorder(kube, { controller: 'aoe.dev/agent' }).event(
      object,
      'Warning',
      'LockBroken',
      'the lock held by node worker-1 is broken',
    );
    expect(await running).toStrictEqual({
      code: 0,
      err: '',
      out: 'The agent on storage-1 was asked to break the lock of volume pvc-1 held by worker-1.\nthe lock held by node worker-1 is broken\n',
    });
  });

  it('makes a bundle without Secrets and values of environment variables', async () => {
    const file = join(server.directory, 'b.tar.gz');
    expect(await aoe(['bundle', '--redact', `--file=${file}`])).toMatchObject({ code: 0 });
    const all = execFileSync('tar', ['-xzOf', file], { encoding: 'utf8' });
    expect(all).not.toMatch(/xyzzy/);
    expect(all).not.toMatch(/\bshop\b/);
    expect(all).toMatch('the lock held by node worker-1 is broken');
    expect(all).toMatch(/^ {2}name: claim-1$|^ {4}name: claim-1$/m);
    // There is no kubelet that would give the log: the bundle says so, and has the rest.
    expect(execFileSync('tar', ['-tzf', file], { encoding: 'utf8' })).toMatch('b/logs/aoe-csi-agent-x/agent.log');
  });

  it('shows a person with few rights what may be seen, and names the rights that are missing', async () => {
    await create(SERVICE_ACCOUNTS, 'eve', {}, 'shop');
    await create(rbac('ClusterRole', 'clusterroles'), 'eve', {
      rules: [{ apiGroups: ['aoe.dev'], resources: ['aoevolumes'], verbs: ['get', 'list'] }],
    });
    await create(rbac('ClusterRoleBinding', 'clusterrolebindings'), 'eve', {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'eve' },
      subjects: [{ kind: 'ServiceAccount', name: 'eve', namespace: 'shop' }],
    });
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', metadata: { name: 'eve' }, spec: { audiences: [] } };
    const type = { ...SERVICE_ACCOUNTS, plural: 'serviceaccounts/eve/token' };
    const { status } = (await kube.create(type, request as KubeObject, { namespace: 'shop' })) as unknown as { status: { token: string } };
    const kubeconfig = join(server.directory, 'eve.kubeconfig');
    writeFileSync(kubeconfig, server.kubeconfigText(status.token));
    const asEve = (...args: string[]) => aoe(args, kubeconfig);
    const locks = await asEve('locks');
    expect(locks).toMatchObject({ code: 0, out: expect.stringMatching(/^pvc-1 +- +worker-1 +\S+ +Unknown +-$/m) });
    expect(locks.err).toBe(
      '\nNot all could be seen or done, since rights are missing:\n  you may not list nodes\n  you may not list persistentvolumes\n',
    );
    const shown = await asEve('status');
    expect(shown).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Nothing wrong was found in what you may read\.[\s\S]*^ {2}Ready +1 +1Gi$/m),
    });
    expect(shown.err).toMatch('you may not list aoenodes.aoe.dev\n');
    expect(shown.err).toMatch('you may not list pods in namespace aoe-csi\n');
    expect((await asEve('get', 'pvc-1')).out).toMatch(/^Holder: +worker-1/m);
    const broken = await asEve('break-lock', 'pvc-1', '--holder=worker-1');
    expect(broken).toMatchObject({ code: 1, out: '', err: expect.stringMatching('you may not patch aoevolumes.aoe.dev') });
    const file = join(server.directory, 'eve.tar.gz');
    expect((await asEve('bundle', `--file=${file}`)).code).toBe(0);
    expect(execFileSync('tar', ['-xzOf', file, 'eve/README.txt'], { encoding: 'utf8' })).toMatch(
      'Left out: you may not list aoenodes.aoe.dev;',
    );
  });
});
