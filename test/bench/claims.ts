// How long a claim takes: PVC created → Bound, and → pod Ready on another node than the data's; medians of ten.
// Runs on the running cluster (make demo-up), inside its network namespace: claims.ts [POOL]
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { ResourceType } from '../../api/resources.ts';
import { Informer, Kube, type KubeObject } from '../../kube/mod.ts';
import { claim, pod, storageClass } from '../e2e/manifests.ts';
import { Cluster } from '../testbed/cluster.ts';
import { NETNS, RUN } from '../testbed/paths.ts';
import { median } from './statistics.ts';

const ROUNDS = 10;
const LIMIT = { timeoutMs: 60_000 };
const CLAIMS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumeclaims',
  kind: 'PersistentVolumeClaim',
  namespaced: true,
};
const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };

interface Status extends KubeObject {
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
  spec?: { volumeName?: string };
}

if (!process.env.IN_NETNS) {
  const { status } = spawnSync('ip', ['netns', 'exec', NETNS, process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, IN_NETNS: '1' },
  });
  process.exit(status ?? 1);
}

const seconds = (ms: number) => (ms / 1000).toFixed(2);

const cluster = await Cluster.attach();
const kube = Kube.fromKubeconfig(join(RUN, 'admin.kubeconfig'));
const namespace = 'default';
const stop = new AbortController();
const claims = new Informer<Status>(kube, CLAIMS, { namespace });
const pods = new Informer<Status>(kube, PODS, { namespace });
const running = [claims.run(stop.signal), pods.run(stop.signal)];
await Promise.all([claims.synced, pods.synced]);

const pool = process.argv[2] ?? 'lvm';
await cluster.apply([storageClass('bench', { pool }, 'Immediate')]);
const times: { bound: number; ready: number }[] = [];
try {
  for (let round = 0; round < ROUNDS; round++) {
    const name = `bench-${round}`;
    const started = performance.now();
    await kube.create(CLAIMS, claim(name, { storageClass: 'bench' }) as KubeObject, { namespace });
    const bound = await claims.waitFor(`${namespace}/${name}`, (object) => object?.status?.phase === 'Bound' && object, LIMIT);
    const boundMs = performance.now() - started;
    const volume = bound.spec?.volumeName ?? '';
    const { nodeName } = (await cluster.getJson('aoev', volume)).spec;
    const other = nodeName === 'storage-1' ? 'storage-2' : 'storage-1';
    const podStarted = performance.now();
    await kube.create(PODS, pod(name, { claim: name, node: other, script: 'sleep 3600' }) as KubeObject, { namespace });
    const isReady = (object: Status | undefined) =>
      object?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
    await pods.waitFor(`${namespace}/${name}`, isReady, LIMIT);
    // Without the time in which this script looked for another node.
    times.push({ bound: boundMs, ready: boundMs + performance.now() - podStarted });
    console.log(`${name}: Bound ${seconds(boundMs)} s, pod Ready ${seconds(times.at(-1)?.ready ?? 0)} s`);
    await cluster.kubectl(['delete', 'pod', name]);
    await cluster.kubectl(['delete', 'pvc', name]);
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=60s']);
  }
  console.log(
    `pool ${pool}, medians of ${ROUNDS}: Bound ${seconds(median(times.map((t) => t.bound)))} s, pod Ready ${seconds(median(times.map((t) => t.ready)))} s`,
  );
} finally {
  stop.abort();
  await Promise.all(running);
  await cluster.kubectl(['delete', 'storageclass', 'bench', '--ignore-not-found']);
}
