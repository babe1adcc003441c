import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Away } from '../monitoring/away.ts';
import { type Dashboard, filledIn, hurried, type Monitoring, metricNames, monitoringOf } from '../monitoring/chart.ts';
import { type Fault, Faults, WORKER } from '../monitoring/faults.ts';
import { type DrawnPanel, pictureOf } from '../monitoring/picture.ts';
import { PrometheusServer } from '../monitoring/server.ts';
import { Cluster } from '../testbed/cluster.ts';
import { installChart, notOn } from '../testbed/install.ts';
import { ROOT } from '../testbed/paths.ts';
import { claim, pod, statefulSet, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** In the place of 5 and 10 minutes, so that an alert on a rate ends soon after its fault. */
const RANGE = '30s';
/** In the place of what the rules wait before they fire. */
const WAIT = '4s';
const FIRES_MS = 120_000;
const RESOLVES_MS = 150_000;
const PICTURES = process.env.PICTURES ?? join(ROOT, 'dist/dashboards');
/** Reads and writes a raw disk for as long as it is there; goes on after an error. */
const LOAD =
  'exec 3<>/dev/data; touch /tmp/ready; while true; do dd if=/dev/zero of=/dev/data bs=64k count=16 oflag=direct conv=notrunc; dd if=/dev/data of=/dev/null bs=64k count=32 iflag=direct; usleep 300000; done 2>/dev/null';

/** Panels that show nothing while all is well, and why. */
const EMPTY_WHEN_WELL: Readonly<Record<string, string>> = {
  'aoe-csi: cluster / Why volumes are not Ready': 'has the volumes that are not Ready',
  'aoe-csi: volume / Disk is down': 'the series is there only while a disk is down',
};

/** Metrics of alerts that are there only while something is wrong, and why. */
const ABSENT_WHEN_WELL: Readonly<Record<string, string>> = {
  aoe_csi_node_disk_down_seconds: 'the series is there only while a disk is down',
  aoe_csi_volume_waiting_seconds: 'the series is there only while a volume waits',
  aoe_csi_takeover_held: 'the series is there only while a silent node keeps its volumes',
};

/** A real Prometheus reads the metrics of the cluster: through the chart's PodMonitor, with the chart's rules and dashboards. */
describe.skipIf(process.env.MONITORING ? false : 'set MONITORING=1: it takes about 20 minutes')('Prometheus on the cluster', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let chart: Monitoring;
  let server: PrometheusServer;
  let faults: Faults;
  let away: Away;
  let volume: string;
  const began = Date.now() / 1000;

  beforeAll(async () => {
    cluster = await Cluster.attach();
    await installChart(cluster, { takeover: { after: '20s' }, controller: notOn(WORKER) });
    chart = await monitoringOf(cluster);
    server = await PrometheusServer.start(chart.podMonitor, hurried(chart.rules, RANGE, WAIT), cluster.kubeconfig);
    ns = await Namespace.create(cluster, 'shop');
    await cluster.apply([storageClass('shop-lvm', { pool: 'lvm' }, 'Immediate'), storageClass('shop-thin', { pool: 'thin' }, 'Immediate')]);
    await ns.apply(['lvm', 'thin'].map((name) => claim(name, { storageClass: `shop-${name}`, size: '16Mi', volumeMode: 'Block' })));
    await ns.apply(['lvm', 'thin'].map((name) => pod(name, { claim: name, node: WORKER, script: LOAD, block: true })));
    for (const name of ['lvm', 'thin']) await ns.ready(name);
    volume = await ns.volumeOf('lvm');
    const { metadata, spec } = await cluster.getJson('aoev', volume);
    const mapped = `vg0-aoe--${metadata.uid.replaceAll('-', '--')}`;
    const other = spec.nodeName === 'storage-1' ? 'storage-2' : 'storage-1';
    const use = async (name: string): Promise<string> => {
      await ns.apply([statefulSet(name, { storageClass: 'shop-lvm', node: WORKER, script: 'touch /tmp/ready; sleep 3600' })]);
      await ns.ready(`${name}-0`, 150_000);
      return (await cluster.getJson('aoev', await ns.volumeOf(`data-${name}-0`))).spec.nodeName;
    };
    away = new Away(cluster, [other, spec.nodeName]);
    faults = new Faults(cluster, { volume, mapped, node: spec.nodeName, other }, use);
  }, 2_400_000);
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'shop-lvm', 'shop-thin', '--ignore-not-found']);
    await server?.stop();
    if (cluster) await installChart(cluster);
  });

  const story = (path: string) => async () => JSON.stringify(await server.ask(path));

  it('reads every program, each on every node where it runs', async () => {
    const { activeTargets } = await cluster.poll(
      async () => {
        const answer = await server.ask<{ activeTargets: { labels: Record<string, string>; health: string; lastError: string }[] }>(
          'targets',
        );
        return answer.activeTargets.length > 0 && answer.activeTargets.every(({ health }) => health === 'up') ? answer : undefined;
      },
      { timeoutMs: 60_000, what: 'all scrapes to succeed', explain: story('targets') },
    );
    const count = (endpoint: string) => activeTargets.filter(({ labels }) => labels.endpoint === endpoint).length;
    const endpoints = ['operator', 'csi-controller', 'provisioner', 'attacher', 'resizer', 'snapshotter', 'csi-node', 'agent'];
    expect(Object.fromEntries(endpoints.map((name) => [name, count(name)]))).toStrictEqual({
      ...Object.fromEntries(endpoints.map((name) => [name, 1])),
      'csi-node': 3,
      agent: 2,
    });
  });

  /** Series of each panel, by title of dashboard and panel. */
  async function emptyPanels(query: (expression: string) => Promise<readonly unknown[]>): Promise<string[]> {
    const empty: string[] = [];
    for (const { title, panels } of chart.dashboards) {
      for (const panel of panels) {
        for (const { expr } of panel.targets)
          if ((await query(filledIn(expr, RANGE, volume))).length === 0) empty.push(`${title} / ${panel.title}`);
      }
    }
    return empty;
  }

  it('finds series for every panel while all is well, but for those that show what is wrong', async () => {
    await cluster.poll(async () => (await server.query(`rate(aoe_target_bytes_total{volume="${volume}"}[${RANGE}]) > 0`))[0], {
      timeoutMs: 90_000,
      what: 'Prometheus to see what the pod reads and writes',
    });
    expect(await emptyPanels((expression) => server.query(expression))).toStrictEqual(Object.keys(EMPTY_WHEN_WELL));
  });

  it('has a value for every variable of a dashboard', async () => {
    for (const { title, templating } of chart.dashboards) {
      for (const { name, query } of templating.list.filter((variable) => typeof variable.query !== 'string')) {
        const text = typeof query === 'string' ? query : query.query;
        const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(text) ?? [];
        expect(await server.ask<string[]>(`label/${label}/values`, { 'match[]': metric }), `${title}: ${name}`).toContain(volume);
      }
    }
  });

  it('accepts every rule, finds the series of its metrics, and no alert fires while all is well', async () => {
    const absent = new Set<string>();
    for (const { alert, expr } of chart.rules) {
      // As it is in the chart, with its own range.
      expect(await server.query(expr), alert).toStrictEqual([]);
      for (const name of metricNames(expr)) if ((await server.query(name)).length === 0) absent.add(name);
    }
    expect([...absent]).toStrictEqual(Object.keys(ABSENT_WHEN_WELL));
    const { groups } = await server.ask<{ groups: { rules: { name: string; health: string }[] }[] }>('rules');
    expect(groups.flatMap(({ rules }) => rules).filter(({ health }) => health !== 'ok')).toStrictEqual([]);
    expect(await server.firing()).toStrictEqual([]);
  });

  const seen = new Set<string>();
  const isOf = (expected: Readonly<Record<string, string>>) => (found: { labels: Readonly<Record<string, string>> }) =>
    Object.entries(expected).every(([name, value]) => found.labels[name] === value);

  /** Causes faults together, waits until their alerts fire, cures them, and waits until the alerts have resolved. */
  async function fireAndResolve(all: readonly Fault[]): Promise<void> {
    const expected = all.flatMap(({ fires, what, withinMs = FIRES_MS }) => fires.map((labels) => ({ labels, what, withinMs })));
    const fired = ({ labels, what, withinMs }: (typeof expected)[number]) =>
      cluster.poll(async () => (await server.firing()).find(isOf(labels)), {
        timeoutMs: withinMs,
        intervalMs: 1000,
        what: `${labels.alertname} to fire because ${what}`,
        explain: story('alerts'),
      });
    const caused = all.map(({ cause }) => cause());
    try {
      const looking = Promise.all(caused).then(() => faults.look());
      // An orphan counts as one when it is there at a second look.
      const again = looking.then(() => new Promise((resolve) => setTimeout(resolve, 12_000))).then(() => faults.look());
      for (const { labels, annotations } of (await Promise.all([Promise.all(expected.map(fired)), again]))[0]) {
        seen.add(labels.alertname ?? '');
        expect(annotations.summary).not.toMatch(/<no value>|{{/);
      }
    } finally {
      await Promise.allSettled(caused);
      for (const result of await Promise.allSettled(all.map(({ cure }) => cure())))
        if (result.status === 'rejected') console.error(result.reason);
      await faults.look();
    }
    await cluster.poll(
      async () => {
        const firing = await server.firing();
        return expected.some(({ labels }) => firing.some(isOf(labels))) ? undefined : true;
      },
      { timeoutMs: RESOLVES_MS, intervalMs: 1000, what: 'the alerts to resolve', explain: story('alerts') },
    );
  }

  const LIMIT = 420_000;
  it('alerts on objects that cannot be and on space that runs out', () => fireAndResolve(faults.objectsAndSpace()), LIMIT);
  it('alerts on hosts that do what they may not', () => fireAndResolve(faults.hosts()), LIMIT);
  it('alerts on a target that stands still and loses frames', () => fireAndResolve(faults.target()), LIMIT);
  it('alerts on a disk that hangs', () => fireAndResolve(faults.slowDisk()), LIMIT);
  it('alerts on a disk that gives errors', () => fireAndResolve(faults.brokenDisk()), LIMIT);
  it('alerts on a node that has given up a disk', () => fireAndResolve(faults.segment()), LIMIT);
  it('alerts on an operator that cannot write', () => fireAndResolve(faults.rights()), LIMIT);
  it('alerts on an operator that is away', () => fireAndResolve(away.operator()), LIMIT);
  it('alerts on agents that are away', () => fireAndResolve(away.agents()), 2 * LIMIT);
  it('alerts on a lost storage node', async () => fireAndResolve(await away.storageNode()), LIMIT);
  // The last ones: the pods that read and write are on that node.
  it('alerts on a lost node whose volumes are not taken over', () => fireAndResolve(faults.takeoverHeld()), LIMIT);
  it('alerts on a lost node whose volumes are taken over', () => fireAndResolve(faults.takeover()), LIMIT);
  it('has had every alert of the chart', async () => {
    await faults.tidy();
    expect([...seen].toSorted()).toStrictEqual(chart.rules.map(({ alert }) => alert).toSorted());
  });

  it('has series for every panel, now that there were faults, and draws them', async () => {
    const end = Date.now() / 1000;
    mkdirSync(PICTURES, { recursive: true });
    for (const dashboard of chart.dashboards) writeFileSync(join(PICTURES, `${dashboard.uid}.svg`), await drawn(dashboard, end));
    expect(await emptyPanels((expression) => server.queryRange(expression, began, end))).toStrictEqual([]);
  });

  async function drawn(dashboard: Dashboard, end: number): Promise<string> {
    const panels: DrawnPanel[] = [];
    for (const panel of dashboard.panels) {
      const [target] = panel.targets;
      const series = target ? await server.queryRange(filledIn(target.expr, RANGE, volume), began, end) : [];
      panels.push({ panel, series });
    }
    return pictureOf(dashboard.title, panels, [began, end]);
  }
});
