import { cpSync, existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Cluster } from '../../test/testbed/cluster.ts';
import { installChart, NAMESPACE } from '../../test/testbed/install.ts';
import { RUN } from '../../test/testbed/paths.ts';
import type { Step } from '../../test/testbed/progress.ts';
import { LOGS } from './suite.ts';

/** A cluster to run tests on. */
export interface TestCluster {
  /** Ends it, unless it was running before; keeps its logs first. */
  release: () => Promise<void>;
}

/** Rejects when the run is interrupted, so that nobody waits for a boot to end that is not wanted any more. */
function interruptible<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true });
    work.then(resolve, reject);
  });
}

const FOLDER = join(LOGS, 'cluster');

/** Logs of the control plane and the guests, as files below dist/logs/cluster. */
function keepFiles(): void {
  mkdirSync(FOLDER, { recursive: true });
  for (const file of globSync(['logs/*.log', '*/*.log'], { cwd: RUN })) {
    mkdirSync(dirname(join(FOLDER, file)), { recursive: true });
    cpSync(join(RUN, file), join(FOLDER, file));
  }
}

/** What the cluster knows about itself, too. */
async function keepLogs(cluster: Cluster): Promise<void> {
  keepFiles();
  const save = async (name: string, args: string[]) =>
    writeFileSync(join(FOLDER, name), await cluster.kubectl(args, { timeoutMs: 20_000 }).catch(String));
  await save('objects.txt', ['get', 'pods,pvc,pv,volumeattachments,aoevolumes,aoepools,aoenodes', '-A', '-o', 'wide']);
  await save('events.txt', ['get', 'events', '-A', '--sort-by=.lastTimestamp']);
  const pods = (await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-o', 'name']).catch(() => '')).split('\n').filter(Boolean);
  for (const pod of pods)
    await save(`${pod.replace('/', '-')}.log`, ['-n', NAMESPACE, 'logs', pod, '--all-containers', '--prefix', '--tail=-1']);
}

export function isClusterUp(): boolean {
  return existsSync(join(RUN, 'up'));
}

/** The running cluster, with our programs as they are built now; it is left running. @throws Error when there is none */
export async function runningCluster(step: Step): Promise<TestCluster> {
  const cluster = await Cluster.attach();
  await step('our image on the running cluster', () => cluster.update(NAMESPACE));
  return { release: async () => {} };
}

/** A new cluster with the chart installed, in the place of one that an earlier run may have left. */
export async function freshCluster(step: Step, signal: AbortSignal): Promise<TestCluster> {
  try {
    const cluster = await interruptible(Cluster.up(step), signal);
    await step('helm install aoe-csi', () => interruptible(installChart(cluster), signal));
    return {
      release: async () => {
        if (signal.aborted) keepFiles();
        else await keepLogs(cluster);
        await Cluster.down();
      },
    };
  } catch (error) {
    const cluster = await Cluster.attach().catch(() => undefined);
    if (cluster && !signal.aborted) await keepLogs(cluster);
    else keepFiles();
    await Cluster.down();
    throw error;
  }
}
