import type { AgentLiveness } from '../api/agent-liveness.ts';
import { type KubeNode, notReady } from '../api/kube-node.ts';
import type { AoENode } from '../api/node.ts';
import { parseQuantity } from '../api/quantity.ts';
import type { AoEVolume } from '../api/volume.ts';
import type { Store } from '../kube/mod.ts';
import { type Collect, gauge } from '../run/metrics.ts';
import type { Lead } from './lead.ts';
import type { Waits } from './volume/waits.ts';

/**
 * A gauge that only the leader has: what another replica would say counts twice. So does what one says that has lost the lease and
 * has not ended yet.
 */
export function leaderGauge<L extends string>(
  ours: Pick<Lead, 'isOurs'>,
  name: string,
  help: string,
  labelNames: readonly L[],
  collect: Collect<L>,
): void {
  gauge(name, help, labelNames, (set) => (ours.isOurs ? collect(set) : undefined));
}

/** Registers whether this replica leads: once in a process. Where no replica says so, nobody says any of the rest. */
export function registerLead(ours: Pick<Lead, 'isOurs'>): void {
  gauge('aoe_csi_operator_leading', '1 when this replica of the operator leads.', [], (set) => set({}, ours.isOurs ? 1 : 0));
}

interface StorageNodes {
  readonly nodes: Pick<Store<AoENode>, 'list'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly agents: Pick<AgentLiveness, 'silence'>;
}

/**
 * Registers gauges of the storage nodes, once in a process: those whose agent has ever reported. What an agent says of itself is gone
 * when it is, or its node.
 */
export function registerStorageNodes({ nodes, kubeNodes, agents }: StorageNodes, ours: Pick<Lead, 'isOurs'>): void {
  const ofEach = (name: string, help: string, isSo: (node: AoENode) => boolean): void =>
    leaderGauge(ours, name, help, ['node'], (set) => {
      const storage = nodes.list().filter(({ status }) => status?.agentSeen !== undefined);
      for (const node of storage) set({ node: node.metadata.name }, isSo(node) ? 1 : 0);
    });
  ofEach(
    'aoe_csi_agent_silent',
    '1 when the agent of a storage node has not reported for minutes.',
    (node) => agents.silence(node) !== undefined,
  );
  ofEach('aoe_csi_storage_node_ready', '1 when the Node of a storage node is Ready.', ({ metadata: { name } }) => {
    const kubeNode = kubeNodes.get(name);
    return kubeNode !== undefined && notReady(kubeNode) === undefined;
  });
}

interface Volumes {
  readonly volumes: Pick<Store<AoEVolume>, 'list'>;
  readonly waits: Pick<Waits, 'longest'>;
}

/** Registers gauges of volumes by phase, of how long they wait, and of what they reserve by pool and node: once in a process. */
export function countVolumes({ volumes, waits }: Volumes, ours: Pick<Lead, 'isOurs'>): void {
  leaderGauge(ours, 'aoe_csi_volumes', 'AoEVolumes by phase and, where not ready, reason.', ['phase', 'reason'], (set) => {
    const counts = new Map<string, { phase: string; reason: string; count: number }>();
    for (const { status } of volumes.list()) {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      const phase = status?.phase ?? 'Pending';
      const reason = ready && ready.status !== 'True' ? ready.reason : '';
      const entry = counts.get(`${phase}/${reason}`) ?? { phase, reason, count: 0 };
      entry.count++;
      counts.set(`${phase}/${reason}`, entry);
    }
    for (const { phase, reason, count } of counts.values()) set({ phase, reason }, count);
  });
  const waiting =
    'How long the Pending AoEVolume with this reason has waited that has waited longest; a copy waits while it does not get ahead.';
  leaderGauge(ours, 'aoe_csi_volume_waiting_seconds', waiting, ['reason'], (set) => {
    for (const [reason, seconds] of waits.longest(volumes.list())) set({ reason }, seconds);
  });
  leaderGauge(ours, 'aoe_csi_reserved_bytes', 'Capacity of placed AoEVolumes, by pool and node.', ['pool', 'node'], (set) => {
    const sums = new Map<string, { pool: string; node: string; bytes: number }>();
    for (const { spec } of volumes.list()) {
      if (!spec.nodeName || !spec.pool || !spec.capacity) continue;
      const key = `${spec.pool}/${spec.nodeName}`;
      const entry = sums.get(key) ?? { pool: spec.pool, node: spec.nodeName, bytes: 0 };
      entry.bytes += parseQuantity(spec.capacity);
      sums.set(key, entry);
    }
    for (const { pool, node, bytes } of sums.values()) set({ pool, node }, bytes);
  });
}
