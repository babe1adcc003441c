import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { metricsOf } from '../chart/promql.ts';
import type { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { kitVersion } from '../testbed/kit.ts';
import { ROOT } from '../testbed/paths.ts';

export interface Panel {
  readonly title: string;
  readonly type: 'stat' | 'timeseries';
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
  readonly fieldConfig: {
    readonly defaults: {
      readonly unit: string;
      readonly max?: number;
      readonly thresholds?: { readonly steps: readonly { readonly color: string; readonly value: number | null }[] };
      readonly custom?: { readonly stacking?: object };
    };
  };
}

export interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[] };
  readonly panels: readonly Panel[];
}

export interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Monitoring {
  readonly podMonitor: object;
  readonly rules: readonly Rule[];
  readonly dashboards: readonly Dashboard[];
}

/** What the chart has for Prometheus and Grafana, as helm renders it for the release on the test bed. */
export async function monitoringOf(cluster: Cluster): Promise<Monitoring> {
  const on = ['podMonitor', 'prometheusRule', 'dashboards'].flatMap((name) => ['--set', `metrics.${name}.enabled=true`]);
  // helm asks no cluster for them here.
  const apis = ['--kube-version', kitVersion('k8s.io/kubernetes'), '--api-versions', 'snapshot.storage.k8s.io/v1'];
  const text = await cluster.helm(['template', 'aoe-csi', join(ROOT, 'charts/aoe-csi'), '--namespace', NAMESPACE, ...on, ...apis]);
  const manifests = parseAllDocuments(text).flatMap((document) => document.toJS() ?? []);
  const of = (kind: string) => manifests.filter((manifest) => manifest.kind === kind);
  return {
    podMonitor: of('PodMonitor')[0],
    rules: of('PrometheusRule')[0].spec.groups[0].rules,
    dashboards: of('ConfigMap')
      .filter(({ metadata }) => metadata.name.endsWith('-dashboard'))
      .map(({ data }) => JSON.parse(String(Object.values(data)[0]))),
  };
}

/**
 * The rules for a test that cannot wait: `for`, the time that a rate looks back, and the time for which a volume may wait are shorter, and
 * nothing else is changed.
 * @param wait such as `4s`
 */
export function hurried(rules: readonly Rule[], range: string, wait: string): object {
  const limit = `$1${Number.parseInt(wait, 10)}`;
  const hurry = (expr: string) => expr.replaceAll(/\[\d+m]/g, `[${range}]`).replaceAll(/(_waiting_seconds\) > )\d+/g, limit);
  const faster = rules.map((rule) => ({ ...rule, expr: hurry(rule.expr), for: wait }));
  return { groups: [{ name: 'aoe-csi', rules: faster }] };
}

/** The expression of a panel with the values that Grafana puts in. */
export const filledIn = (expression: string, range: string, volume: string): string =>
  expression.replaceAll('$__rate_interval', range).replaceAll('$volume', volume);

/** The names of the metrics that an expression reads. */
export const metricNames = (expression: string): readonly string[] => [...new Set(metricsOf(expression))];
