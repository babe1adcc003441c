import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Kube } from '../../kube/mod.ts';
import { container, GROUP_SNAPSHOT_API, type Manifest, render, SNAPSHOT_API } from '../chart/helm.ts';
import { claim, volumeSnapshot } from '../e2e/manifests.ts';
import { KIT, SNAPSHOT_CRDS } from '../testbed/kit.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool } from './objects.ts';
import { Program } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const NAMESPACE = 'aoe';
const NODE = 'n1';
const KINDS = /^(ServiceAccount|(Cluster)?Role(Binding)?|StorageClass|Volume(Group)?SnapshotClass)$/;
const LIMIT_MS = 180_000;

/**
 * Kubernetes' sidecars and controllers with our operator and CSI controller, all with the rights that the chart gives them, and fake
 * agents. Data and mounts are tested on the cluster.
 */
describe.skipIf(unavailable)('VolumeSnapshots and claims', () => {
  let server: ApiServer;
  let kube: Kube;
  let config: string;
  const stop = new AbortController();
  const ours: Program[] = [];
  const theirs: ChildProcess[] = [];
  let agent: FakeAgent;
  let agentRuns: Promise<void> | undefined;
  serveTests((started) => {
    ({ server, kube } = started);
  });

  const kubectl = async (...args: string[]): Promise<string> => {
    const all = [`--kubeconfig=${server.kubeconfig}`, ...args];
    return (await promisify(execFile)(join(KIT, 'kubectl'), all, { timeout: LIMIT_MS })).stdout;
  };
  const apply = async (...objects: object[]): Promise<void> => {
    const path = join(server.directory, 'objects.json');
    writeFileSync(path, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
    await kubectl('apply', '--server-side', '-f', path);
  };
  const logOf = (name: string) => readFileSync(join(server.directory, `${name}.log`), 'utf8').slice(-3_000);

  function start(name: string, args: string[]): void {
    const log = openSync(join(server.directory, `${name}.log`), 'a');
    const env = { ...process.env, NAMESPACE, POD_NAME: 'controller' };
    theirs.push(
      spawn('setpriv', ['--pdeathsig', 'KILL', '--', join(KIT, name), ...args], {
        stdio: ['ignore', log, log],
        cwd: server.directory,
        env,
      }),
    );
  }

  beforeAll(async () => {
    const manifests = await render({}, { apis: [...SNAPSHOT_API, ...GROUP_SNAPSHOT_API] });
    await kubectl('apply', '-f', SNAPSHOT_CRDS);
    await kubectl('wait', 'crd', '--all', '--for=condition=Established', '--timeout=120s');
    await kubectl('create', 'namespace', NAMESPACE);
    await apply(...manifests.filter(({ kind }: Manifest) => KINDS.test(kind)));
    await apply(
      { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE, labels: { 'aoe.dev/segment': 'default' } } },
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'CSINode',
        metadata: { name: NODE },
        spec: { drivers: [{ name: 'aoe.dev', nodeID: NODE, topologyKeys: ['aoe.dev/segment'] }] },
      },
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: { name: 'now' },
        provisioner: 'aoe.dev',
        parameters: { pool: 'default' },
        volumeBindingMode: 'Immediate',
        reclaimPolicy: 'Delete',
      },
    );
    const ready = { conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }] };
    await kubectl('patch', 'node', NODE, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: ready }));
    await makePool(kube, 'default');
    await announceNode(kube, NODE);
    await reportPool(kube, 'default', { name: NODE, ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
    agent = new FakeAgent(kube);
    agentRuns = agent.run(stop.signal);

    // From here on everything has the token of the controller's pod.
    config = join(server.directory, 'controller.kubeconfig');
    writeFileSync(config, server.kubeconfigText((await kubectl('-n', NAMESPACE, 'create', 'token', 'aoe-csi-controller')).trim()));
    const socket = join(server.directory, 'csi.sock');
    const [operator = '', controller = ''] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
    const common = [`--kubeconfig=${config}`];
    ours.push(
      new Program('operator/main.ts', [...common, `--http=${operator}`, `--namespace=${NAMESPACE}`]),
      new Program('csi/main.ts', ['controller', ...common, `--http=${controller}`, `--endpoint=unix://${socket}`]),
    );
    await Promise.all([ours[0]?.ready(operator), ours[1]?.ready(controller)]);
    for (const name of ['csi-provisioner', 'csi-snapshotter']) {
      // The objects of capacity need a pod as their owner, and ports may be taken.
      const without = /^--(csi-address|http-endpoint|enable-capacity|capacity-)/;
      const args: string[] = container(manifests, name).args.filter((argument: string) => !without.test(argument));
      start(name, [...args, `--csi-address=${socket}`, `--kubeconfig=${config}`, '--v=5']);
    }
    const admin = `--kubeconfig=${server.kubeconfig}`;
    start('snapshot-controller', [admin]);
    const controllers = ['persistentvolume-binder', 'persistentvolumeclaim-protection', 'persistentvolume-protection', 'garbage-collector'];
    start('kube-controller-manager', [
      ...[admin, '--leader-elect=false', '--secure-port=0', `--controllers=${controllers.map((name) => `${name}-controller`).join(',')}`],
    ]);
  });

  afterAll(async () => {
    stop.abort();
    for (const child of theirs) child.kill('SIGKILL');
    await Promise.all([agentRuns, ...ours.map((program) => program.kill())]);
  });

  const until = async (what: string, ask: () => Promise<boolean>): Promise<void> => {
    const end = Date.now() + LIMIT_MS;
    while (!(await ask())) {
      if (Date.now() > end) throw new Error(`${what}\n${['csi-provisioner', 'csi-snapshotter'].map(logOf).join('\n')}`);
      await delay(100);
    }
  };
  const field = async (kind: string, name: string, path: string): Promise<string> =>
    (await kubectl('get', kind, name, '--ignore-not-found', '-o', `jsonpath={${path}}`)).trim();
  const bound = async (name: string): Promise<Manifest> => {
    await until(`claim ${name} is not Bound`, async () => (await field('pvc', name, '.status.phase')) === 'Bound');
    return JSON.parse(await kubectl('get', 'aoev', await field('pvc', name, '.spec.volumeName'), '-o', 'json'));
  };
  const readySnapshot = (name: string) =>
    until(`VolumeSnapshot ${name} is not ready`, async () => (await field('volumesnapshot', name, '.status.readyToUse')) === 'true');
  const names = async (kind: string): Promise<string[]> => (await kubectl('get', kind, '-o', 'name')).split('\n').filter(Boolean);
  const from = (kind: 'VolumeSnapshot' | 'PersistentVolumeClaim', name: string) => ({ kind, name });

  it('begin with the data of a snapshot, and are deleted in any order', async () => {
    await apply(claim('data', { storageClass: 'now' }));
    const { metadata } = await bound('data');
    await apply(volumeSnapshot('first', 'data'));
    await readySnapshot('first');
    expect(await field('volumesnapshot', 'first', '.status.restoreSize')).toBe('64Mi');
    const uid = await field('volumesnapshot', 'first', '.metadata.uid');
    const snapshot = JSON.parse(await kubectl('get', 'aoesnapshot', `snapshot-${uid}`, '-o', 'json'));
    expect(snapshot.spec).toMatchObject({ volumeName: metadata.name, volumeUID: metadata.uid });
    expect(snapshot.metadata.annotations['aoe.dev/volume-snapshot']).toBe('default/first');

    await kubectl('delete', 'pvc', 'data', '--timeout=120s');
    await until('the AoEVolume stays', async () => !(await names('aoev')).includes(`aoevolume.aoe.dev/${metadata.name}`));
    await apply(claim('larger', { storageClass: 'now', size: '128Mi', source: from('VolumeSnapshot', 'first') }));
    const { spec } = await bound('larger');
    expect(spec).toMatchObject({ capacity: '128Mi', source: { snapshot: `snapshot-${uid}` } });
    await kubectl('delete', 'volumesnapshot', 'first', '--timeout=120s');
    await until('the AoESnapshot stays', async () => (await names('aoesnapshot')).length === 0);
    await kubectl('delete', 'pvc', 'larger', '--timeout=120s');
    await until('an AoEVolume stays', async () => (await names('aoev')).length === 0);
  });

  it('without room say so, are taken when there is room, and can be deleted before', async () => {
    await apply(claim('full', { storageClass: 'now' }));
    await bound('full');
    agent.snapshotRefusal = { reason: 'PoolFull', message: 'thin pool vg0/thin has 5 bytes, and 7 are needed' };
    await apply(volumeSnapshot('unwanted', 'full'), volumeSnapshot('wanted', 'full'));
    for (const name of ['unwanted', 'wanted']) {
      await until(`VolumeSnapshot ${name} has no error`, async () =>
        /ResourceExhausted.*thin pool vg0\/thin has 5 bytes, and 7 are needed/.test(
          await field('volumesnapshot', name, '.status.error.message'),
        ),
      );
    }
    // As docs/snapshots.md says.
    const content = await field('volumesnapshot', 'unwanted', '.status.boundVolumeSnapshotContentName');
    await kubectl('delete', 'volumesnapshot', 'unwanted', '--wait=false');
    await until('VolumeSnapshot unwanted stays', async () => {
      await kubectl('annotate', 'volumesnapshotcontent', content, 'snapshot.storage.kubernetes.io/volumesnapshot-being-created-').catch(
        () => '',
      );
      return (await field('volumesnapshot', 'unwanted', '.metadata.name')) === '';
    });
    agent.snapshotRefusal = undefined;
    await readySnapshot('wanted');
    await kubectl('delete', 'volumesnapshot', 'wanted', '--timeout=120s');
    await kubectl('delete', 'pvc', 'full', '--timeout=120s');
    await until('an AoESnapshot stays', async () => (await names('aoesnapshot')).length === 0);
  });

  it('are cloned, and nothing is left of how they were made', async () => {
    await apply(claim('source', { storageClass: 'now' }));
    const source = await bound('source');
    await apply(claim('clone', { storageClass: 'now', source: from('PersistentVolumeClaim', 'source') }));
    const clone = await bound('clone');
    expect(clone.metadata.annotations['aoe.dev/clone-of']).toBe(source.metadata.name);
    expect(clone.spec.source.snapshot).toBe(`clone-${clone.metadata.name}`);
    await until('the AoESnapshot of the clone stays', async () => (await names('aoesnapshot')).length === 0);
    await kubectl('delete', 'pvc', 'source', 'clone', '--timeout=120s');
    await until('an AoEVolume stays', async () => (await names('aoev')).length === 0);
  });

  it('are of several claims at one instant, all of them or none, and go with their VolumeGroupSnapshot', async () => {
    const labelled = (name: string) => {
      const { metadata, ...rest } = claim(name, { storageClass: 'now' });
      return { ...rest, metadata: { ...metadata, labels: { app: 'database' } } };
    };
    await apply(labelled('table'), labelled('log'));
    const volumes = await Promise.all(['table', 'log'].map(async (name) => (await bound(name)).metadata.name));
    const source = { selector: { matchLabels: { app: 'database' } } };
    const group = {
      apiVersion: 'groupsnapshot.storage.k8s.io/v1',
      kind: 'VolumeGroupSnapshot',
      metadata: { name: 'both' },
      spec: { source },
    };
    // The first attempt has no room for one of them.
    agent.groups.failing.set(volumes[1] ?? '', 'PoolFull');
    await apply(group);
    await until('VolumeGroupSnapshot both has no error', async () =>
      new RegExp(`ResourceExhausted.*AoEVolume ${volumes[1]}`).test(await field('volumegroupsnapshot', 'both', '.status.error.message')),
    );
    expect(await names('volumesnapshot')).toStrictEqual([]);
    agent.groups.failing.clear();
    await until('both is not ready', async () => (await field('volumegroupsnapshot', 'both', '.status.readyToUse')) === 'true');

    const uid = await field('volumegroupsnapshot', 'both', '.metadata.uid');
    const made = JSON.parse(await kubectl('get', 'aoesnapshotgroup', `groupsnapshot-${uid}`, '-o', 'json'));
    expect(made.metadata.annotations['aoe.dev/volume-group-snapshot']).toBe('default/both');
    expect(new Set(made.status.members.map(({ volumeName }: { volumeName: string }) => volumeName))).toStrictEqual(new Set(volumes));
    const members = JSON.parse(await kubectl('get', 'volumesnapshot', '-o', 'json')).items as Manifest[];
    expect(members).toHaveLength(2);
    for (const { metadata } of members) await readySnapshot(metadata.name);
    await apply(claim('restored', { storageClass: 'now', source: from('VolumeSnapshot', members[0]?.metadata.name) }));
    await bound('restored');

    await kubectl('delete', 'volumegroupsnapshot', 'both', '--timeout=120s');
    for (const kind of ['aoesnapshotgroup', 'aoesnapshot', 'volumesnapshotcontent', 'volumegroupsnapshotcontent'])
      await until(`a ${kind} stays`, async () => (await names(kind)).length === 0);
    await kubectl('delete', 'pvc', 'table', 'log', 'restored', '--timeout=120s');
    await until('an AoEVolume stays', async () => (await names('aoev')).length === 0);
  });
});
