import { join } from 'node:path';
import { bundle } from '../../../../scripts/bundle.ts';
import { cached } from '../../../testbed/cache.ts';
import type { Cluster } from '../../../testbed/cluster.ts';
import { NAMESPACE } from '../../../testbed/install.ts';
import { keyOf, ROOT } from '../../../testbed/paths.ts';
import { DRIVER, PLUGIN_DIRECTORY } from './driver.ts';

const NAME = 'bench-nothing';
const LABELS = { app: NAME };
/** Beside the node_modules of our image, which have koffi. */
const PROGRAM_MOUNT = '/app/bench';

interface Container {
  name: string;
  command?: string[];
  args?: string[];
  volumeMounts?: { name: string; mountPath: string }[];
}
interface Volume {
  name: string;
  hostPath?: { path: string; type?: string };
}
interface Workload {
  apiVersion: string;
  kind: string;
  metadata: object;
  spec: {
    selector: object;
    template: { metadata: object; spec: { containers: Container[]; volumes: Volume[] } };
  };
}

/** Builds the program; gives its directory, which the guests see at the same path. */
function build(): Promise<string> {
  const sources = [import.meta.dirname, ...['rpc', 'run', 'package-lock.json'].map((name) => join(ROOT, name))];
  // By content: a guest keeps what it has read of a file of the host, so another program needs another path.
  return cached('bench-nothing', keyOf(sources), async (folder) => {
    await bundle([{ in: join(import.meta.dirname, 'main.ts'), out: 'nothing' }], folder);
  });
}

/** Our container, with the do-nothing program in the place of ours. */
function instead(container: Container, role: string, http: string, program: readonly string[]): Container {
  const level = container.args?.find((arg) => arg.startsWith('--log-level=')) ?? '--log-level=info';
  return {
    ...container,
    command: ['node', `${PROGRAM_MOUNT}/nothing.js`, role],
    args: [`--http=${http}`, level, ...program],
    volumeMounts: [...(container.volumeMounts ?? []), { name: 'program', mountPath: PROGRAM_MOUNT }],
  };
}

/** A workload of ours with other containers and volumes: all else (account, resources, probes, sidecars and their flags) is the same. */
function like(ours: Workload, containers: Container[], volumes: Volume[], program: string): object {
  const { apiVersion, kind, spec } = ours;
  const template = { metadata: { labels: LABELS }, spec: { ...spec.template.spec, containers, volumes } };
  template.spec.volumes.push({ name: 'program', hostPath: { path: program } });
  return {
    apiVersion,
    kind,
    metadata: { name: NAME, namespace: NAMESPACE },
    spec: { ...spec, selector: { matchLabels: LABELS }, template },
  };
}

/** Installs the do-nothing driver, made from the objects of ours in the cluster, and waits until its pods are Ready. */
export async function installNothing(cluster: Cluster): Promise<void> {
  const program = await build();
  const read = async (kind: string, name: string) => JSON.parse(await cluster.kubectl(['-n', NAMESPACE, 'get', kind, name, '-o', 'json']));
  const deployment: Workload = await read('deployment', 'aoe-csi-controller');
  const daemonSet: Workload = await read('daemonset', 'aoe-csi-node');
  const { spec: driver } = await read('csidriver', 'aoe.dev');

  const controllers = deployment.spec.template.spec.containers.filter(({ name }) => name !== 'operator');
  const controller = like(
    deployment,
    controllers.map((each) => (each.name === 'csi-controller' ? instead(each, 'controller', ':9809', []) : each)),
    deployment.spec.template.spec.volumes,
    program,
  );

  const { containers, volumes } = daemonSet.spec.template.spec;
  const kubelet = volumes.find(({ name }) => name === 'kubelet')?.hostPath?.path ?? '/var/lib/kubelet';
  const socket = [`--endpoint=unix://${kubelet}/${PLUGIN_DIRECTORY}/csi.sock`, `--kubelet-path=${kubelet}`];
  // Both plugins are in the node's network.
  const port = 9910;
  const nodes = like(
    daemonSet,
    containers.map((each) => ({
      ...instead(each, 'node', `:${port}`, socket),
      ports: [{ name: 'csi-node', containerPort: port, hostPort: port }],
    })),
    volumes.map((each) =>
      each.name === 'plugin' ? { name: 'plugin', hostPath: { path: `${kubelet}/${PLUGIN_DIRECTORY}`, type: 'DirectoryOrCreate' } } : each,
    ),
    program,
  );
  await cluster.apply([
    { apiVersion: 'storage.k8s.io/v1', kind: 'CSIDriver', metadata: { name: DRIVER }, spec: driver },
    controller,
    nodes,
  ]);
  for (const workload of [`deployment/${NAME}`, `daemonset/${NAME}`])
    await cluster.kubectl(['-n', NAMESPACE, 'rollout', 'status', workload, '--timeout=180s'], { timeoutMs: 190_000 });
}

export async function removeNothing(cluster: Cluster): Promise<void> {
  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'deployment,daemonset', NAME, '--ignore-not-found']);
  await cluster.kubectl(['delete', 'csidriver', DRIVER, '--ignore-not-found']);
}
