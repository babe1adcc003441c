import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { RUN } from '../testbed/paths.ts';
import { isAlive, startInNetns } from '../testbed/process/processes.ts';
import { poll, runInNetns, sh } from '../testbed/process/shell.ts';
import { prometheus } from '../testbed/prometheus.ts';

const ADDRESS = '127.0.0.1:9090';
/** Longer than the 3 s that an agent gives its target to answer: otherwise a target that does not answer would be an agent that does not. */
export const SCRAPE_SECONDS = 5;
const EVALUATE_SECONDS = 2;

/** One series of an instant query; `value` is the time and the text of the number. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

/** One series of a query over a time: times in seconds, and values as texts. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

/** What the Prometheus operator makes of a PodMonitor of this chart, reduced to the fields that it has. */
// biome-ignore lint/suspicious/noExplicitAny: rendered YAML has no type.
export function scrapeConfigs(podMonitor: any, kubeconfig: string): object[] {
  const { metadata, spec } = podMonitor;
  const labelOf = (name: string) => `__meta_kubernetes_pod_label_${name.replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  const keep = (label: string, value: string) => ({ action: 'keep', source_labels: [label], regex: value.replaceAll('.', '\\.') });
  const copy = (label: string, target: string) => ({ source_labels: [label], target_label: target });
  return spec.podMetricsEndpoints.map(({ port, honorLabels }: { port: string; honorLabels?: boolean }) => ({
    job_name: `podMonitor/${metadata.namespace}/${metadata.name}/${port}`,
    honor_labels: honorLabels ?? false,
    scrape_interval: `${SCRAPE_SECONDS}s`,
    scrape_timeout: `${SCRAPE_SECONDS}s`,
    kubernetes_sd_configs: [{ role: 'pod', kubeconfig_file: kubeconfig, namespaces: { names: [metadata.namespace] } }],
    relabel_configs: [
      { action: 'drop', source_labels: ['__meta_kubernetes_pod_phase'], regex: '(Failed|Succeeded)' },
      ...Object.entries<string>(spec.selector.matchLabels).map(([name, value]) => keep(labelOf(name), value)),
      keep('__meta_kubernetes_pod_container_port_name', port),
      copy('__meta_kubernetes_namespace', 'namespace'),
      copy('__meta_kubernetes_pod_container_name', 'container'),
      copy('__meta_kubernetes_pod_name', 'pod'),
      { target_label: 'job', replacement: `${metadata.namespace}/${metadata.name}` },
      { target_label: 'endpoint', replacement: port },
    ],
  }));
}

/** A real Prometheus in the network namespace of the cluster. */
export class PrometheusServer {
  readonly #pid: number;

  private constructor(pid: number) {
    this.#pid = pid;
  }

  /** Starts it with the pods of a PodMonitor and a rule file, and waits until it is ready. The first time it is built, which takes minutes. */
  static async start(podMonitor: object, rules: object, kubeconfig: string): Promise<PrometheusServer> {
    const program = await prometheus();
    const folder = join(RUN, 'prometheus');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'rules.yaml'), stringify(rules));
    const config = {
      global: { evaluation_interval: `${EVALUATE_SECONDS}s` },
      rule_files: [join(folder, 'rules.yaml')],
      scrape_configs: scrapeConfigs(podMonitor, kubeconfig),
    };
    writeFileSync(join(folder, 'prometheus.yaml'), stringify(config));
    const log = join(folder, 'log');
    const args = [`--config.file=${join(folder, 'prometheus.yaml')}`, `--storage.tsdb.path=${join(folder, 'data')}`];
    const { pid = 0 } = startInNetns(program, [...args, `--web.listen-address=${ADDRESS}`], { log });
    const server = new PrometheusServer(pid);
    const ready = async () => {
      if (!isAlive(pid)) throw new Error('Prometheus ended');
      return (await runInNetns('curl', ['-sf', `http://${ADDRESS}/-/ready`])) ? true : undefined;
    };
    await poll(ready, { timeoutMs: 60_000, what: 'Prometheus to be ready', explain: () => sh(`tail -n 20 '${log}'`) });
    return server;
  }

  /** Ends it, and leaves its log. */
  async stop(): Promise<void> {
    if (isAlive(this.#pid)) process.kill(-this.#pid, 'SIGTERM');
    await poll(async () => (isAlive(this.#pid) ? undefined : true), { timeoutMs: 20_000, what: 'Prometheus to end' });
  }

  /** @throws Error with Prometheus' own message, for example where the expression is wrong */
  async ask<T>(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<T> {
    const pairs = Object.entries(parameters).flatMap(([name, value]) => ['--data-urlencode', `${name}=${value}`]);
    const text = await runInNetns('curl', ['-s', '--max-time', '30', '--get', `http://${ADDRESS}/api/v1/${path}`, ...pairs]);
    const { status, data, error } = JSON.parse(text) as { status: string; data: T; error?: string };
    if (status !== 'success') throw new Error(`Prometheus, ${path} ${JSON.stringify(parameters)}: ${error}`);
    return data;
  }

  async query(expression: string): Promise<readonly Sample[]> {
    return (await this.ask<{ result: Sample[] }>('query', { query: expression })).result;
  }

  /** @param from and @param to in seconds since 1970 */
  async queryRange(expression: string, from: number, to: number): Promise<readonly Series[]> {
    const range = { query: expression, start: from.toFixed(3), end: to.toFixed(3), step: `${SCRAPE_SECONDS}` };
    return (await this.ask<{ result: Series[] }>('query_range', range)).result;
  }

  /** Those that fire now. */
  async firing(): Promise<readonly Alert[]> {
    return (await this.ask<{ alerts: Alert[] }>('alerts')).alerts.filter(({ state }) => state === 'firing');
  }
}
