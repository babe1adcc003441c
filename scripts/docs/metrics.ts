// The metrics of our programs as tables: each program's definitions are registered, and read from the registry.
import { register } from 'prom-client';
import { CopyMetrics } from '../../agent/copier/metrics.ts';
import { PoolMetrics } from '../../agent/pool/metrics.ts';
import { SnapshotMetrics } from '../../agent/snapshot/metrics.ts';
import { TargetMetrics } from '../../agent/target/metrics.ts';
import { registerDownDisks, registerFreezes } from '../../csi/node/upkeep/metrics.ts';
import { RECONCILE_RESULTS } from '../../kube/mod.ts';
import { countVolumes, registerLead, registerStorageNodes } from '../../operator/metrics.ts';
import { registerTakeovers } from '../../operator/takeover/metrics.ts';
import { controllerMetrics } from '../../run/controller-metrics.ts';
import { cell, code, table } from './markdown.ts';

/** What prom-client keeps of a metric; its types do not show the labels. */
interface Registered {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames?: readonly string[];
}

const NONE = { list: () => [] };
const NOT_OURS = { isOurs: false };

/** The parts, in the order of the page: which program serves the metrics, and what registers them. */
const PARTS: readonly (readonly [string, () => unknown])[] = [
  [
    'Operator',
    () => {
      registerLead(NOT_OURS);
      registerStorageNodes({ nodes: NONE, kubeNodes: { get: () => undefined }, agents: { silence: () => undefined } }, NOT_OURS);
      countVolumes({ volumes: NONE, waits: { longest: () => new Map() } }, NOT_OURS);
    },
  ],
  ['Operator, with automatic takeover', () => registerTakeovers({ held: new Map(), taken: 0 }, NOT_OURS)],
  ['Agent', () => new PoolMetrics().register()],
  [
    'Agent, of its copies',
    () => {
      new CopyMetrics(NONE, NONE).register();
      new SnapshotMetrics({ list: () => Promise.resolve([]) }, NONE, AbortSignal.abort()).register();
    },
  ],
  [
    'Agent, of its target',
    () => {
      const api = { getStats: () => Promise.reject(new Error('there is no target')) };
      new TargetMetrics({ api, connection: { connected: false, served: 0 }, volumes: NONE, nodes: NONE }, AbortSignal.abort()).register();
    },
  ],
  [
    'CSI node plugin',
    () => {
      registerDownDisks({ down: () => Promise.resolve([]) });
      registerFreezes();
    },
  ],
  ['Operator and agent: controllers and work queues', () => controllerMetrics(RECONCILE_RESULTS)],
];

export function metricsPage(): string {
  const seen = new Set(register.getMetricsAsArray().map(({ name }) => name));
  return PARTS.map(([title, registerAll]) => {
    registerAll();
    const fresh = (register.getMetricsAsArray() as unknown as Registered[]).filter(({ name }) => !seen.has(name));
    for (const { name } of fresh) seen.add(name);
    const rows = fresh
      .toSorted((a, b) => a.name.localeCompare(b.name))
      .map((metric) => [code(metric.name), metric.type, (metric.labelNames ?? []).map(code).join(', '), cell(metric.help)]);
    return `## ${title}\n\n${table(['Metric', 'Kind', 'Labels', 'Meaning'], rows)}`;
  }).join('\n\n');
}
