import type { Kube } from '../../../kube/mod.ts';
import type { Cluster } from '../../testbed/cluster.ts';
import { NAMESPACE } from '../../testbed/install.ts';
import { PODS, type Pod } from './objects.ts';

/** CPU time of one container with all that it started, ended children too, since its start. */
export interface Usage {
  /** The app's label or the chart's, and the container's name, such as `aoe-csi/csi-node`. */
  readonly part: string;
  readonly seconds: number;
}

/** CPU time by container ID, and how often the containers of each part have been restarted so far. */
export interface Reading {
  readonly atMs: number;
  readonly containers: ReadonlyMap<string, Usage>;
  readonly restarts: Readonly<Record<string, number>>;
}

export interface Spent {
  readonly wall: number;
  /** CPU seconds by part, of all nodes together. */
  readonly cpu: Readonly<Record<string, number>>;
  /** Restarts of containers meanwhile, by part; only parts that had any. The CPU time of a container before its restart is lost. */
  readonly restarts: Readonly<Record<string, number>>;
}

/** The kubelet's control groups, with the cgroupfs driver: kubepods/[QoS/]podUID/CONTAINER. */
const COUNTERS = `cd /sys/fs/cgroup/kubepods; grep -H usage_usec pod*/*/cpu.stat */pod*/*/cpu.stat 2>/dev/null || true`;

/** CPU seconds by container ID, out of lines as `burstable/podUID/ID/cpu.stat:usage_usec 1234`. */
export function parseCounters(text: string): Map<string, number> {
  const lines = text.matchAll(/\/([0-9a-f]{64})\/cpu\.stat:usage_usec (\d+)$/gm);
  return new Map([...lines].map(([, id = '', usec]) => [id, Number(usec) / 1e6]));
}

/** Reads the counters of all containers of ours and of the do-nothing driver. */
export async function readCpu(kube: Kube, cluster: Cluster, nodes: readonly string[]): Promise<Reading> {
  const { items } = await kube.list<Pod>(PODS, { namespace: NAMESPACE });
  const texts = await Promise.all(nodes.map((node) => cluster.guest(node).exec(COUNTERS)));
  const seconds = parseCounters(texts.join('\n'));
  const containers = new Map<string, Usage>();
  const restarts: Record<string, number> = {};
  for (const { metadata, status } of items) {
    const app = metadata.labels?.['app.kubernetes.io/name'] ?? metadata.labels?.app ?? metadata.name;
    for (const { name, containerID = '', restartCount } of status?.containerStatuses ?? []) {
      const part = `${app}/${name}`;
      restarts[part] = (restarts[part] ?? 0) + restartCount;
      const id = containerID.slice(containerID.lastIndexOf('/') + 1);
      const used = seconds.get(id);
      if (used !== undefined) containers.set(id, { part, seconds: used });
    }
  }
  return { atMs: performance.now(), containers, restarts };
}

/** What was used between two readings. */
export function spent(before: Reading, after: Reading): Spent {
  const cpu: Record<string, number> = {};
  for (const [id, { part, seconds }] of after.containers) {
    cpu[part] = (cpu[part] ?? 0) + seconds - (before.containers.get(id)?.seconds ?? 0);
  }
  const restarts = Object.entries(after.restarts).flatMap(([part, count]) => {
    const more = count - (before.restarts[part] ?? 0);
    return more > 0 ? [[part, more] as const] : [];
  });
  return { wall: (after.atMs - before.atMs) / 1000, cpu, restarts: Object.fromEntries(restarts) };
}

/**
 * CPU seconds of some parts for each of n things that were done, without what they use when nothing is done.
 * @param parts names of parts, such as `aoe-csi/agent`
 */
export function perThing(used: Spent, idle: Spent, parts: readonly string[], n: number): number {
  const sum = ({ cpu }: Spent) => parts.reduce((total, part) => total + (cpu[part] ?? 0), 0);
  return Math.max(0, sum(used) - (sum(idle) / idle.wall) * used.wall) / n;
}
