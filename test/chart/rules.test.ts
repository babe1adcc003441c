import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { run } from '../testbed/process/shell.ts';
import { promtool } from '../testbed/prometheus.ts';
import { type Manifest, render } from './helm.ts';

/** Minutes, of one sample each: all is well, then there is the fault, then all is well again. */
const [WELL, FAULT, AFTER] = [20, 90, 40];
const INSTANCE = 'instance="10.0.0.1:9811"';
const VOLUME = 'volume="pvc-1",namespace="shop",pvc="db"';

/** A gauge that has one value while all is well, and another during the fault. `_` is none. */
const gauge = (well: number | '_', bad: number | '_'): string =>
  [...Array(WELL).fill(well), ...Array(FAULT).fill(bad), ...Array(AFTER).fill(well)].join(' ');

/** A counter that grows by so much a minute while all is well, and by so much during the fault. */
function counter(well: number, bad: number): string {
  let sum = 0;
  const steps = [...Array<number>(WELL).fill(well), ...Array<number>(FAULT).fill(bad), ...Array<number>(AFTER).fill(well)];
  return steps
    .map((step) => {
      sum += step;
      return sum;
    })
    .join(' ');
}

interface Case {
  readonly alert: string;
  /** What Prometheus reads: values close to the limit while all is well. */
  readonly series: Readonly<Record<string, string>>;
  /** The alert's labels beside name and severity. */
  readonly labels: Readonly<Record<string, string>>;
  readonly summary: string;
}

const instance = '10.0.0.1:9811';
const ofVolume = { instance, volume: 'pvc-1', namespace: 'shop', pvc: 'db' };
const ofOperator = (metric: string, labels = '') => `${metric}{instance="10.0.0.1:9808",${labels}}`;
const bucket = (le: string) => `aoe_target_request_duration_seconds_bucket{${VOLUME},${INSTANCE},kind="read",le="${le}"}`;

/** @param canFill absent with an agent of an earlier version */
const thin = (pool: string, part: string, used: string, canFill?: 0 | 1): Record<string, string> => {
  const labels = `pool="${pool}",part="${part}",${INSTANCE}`;
  return {
    [`aoe_agent_thin_pool_used_ratio{${labels}}`]: used,
    ...(canFill === undefined ? {} : { [`aoe_agent_thin_pool_can_fill{${labels}}`]: gauge(canFill, canFill) }),
  };
};

const CASES: readonly Case[] = [
  {
    alert: 'AoETargetDown',
    series: { [`aoe_target_up{${INSTANCE}}`]: gauge(1, 0) },
    labels: { instance },
    summary: 'The target on 10.0.0.1:9811 does not answer its agent.',
  },
  {
    alert: 'AoEStorageNodeNotReady',
    series: {
      [ofOperator('aoe_csi_storage_node_ready', 'node="storage-1"')]: gauge(1, 0),
      [ofOperator('aoe_csi_storage_node_ready', 'node="storage-2"')]: gauge(1, 1),
      // What its agent says ends with the node.
      [`aoe_target_up{${INSTANCE}}`]: gauge(1, '_'),
    },
    labels: { node: 'storage-1' },
    summary: 'Storage node storage-1 is not Ready.',
  },
  {
    alert: 'AoEAgentSilent',
    series: {
      [ofOperator('aoe_csi_agent_silent', 'node="storage-1"')]: gauge(0, 1),
      [ofOperator('aoe_csi_storage_node_ready', 'node="storage-1"')]: gauge(1, 1),
      [`aoe_target_up{${INSTANCE}}`]: gauge(1, '_'),
      // Of a node that is lost another alert tells.
      [ofOperator('aoe_csi_agent_silent', 'node="storage-2"')]: gauge(0, 1),
      [ofOperator('aoe_csi_storage_node_ready', 'node="storage-2"')]: gauge(1, 0),
    },
    labels: { node: 'storage-1' },
    summary: 'The agent on storage node storage-1 does not report.',
  },
  {
    alert: 'AoEOperatorAway',
    series: {
      [ofOperator('aoe_csi_operator_leading')]: gauge(1, '_'),
      'aoe_csi_operator_leading{instance="10.0.0.2:9808"}': gauge(0, 0),
    },
    labels: {},
    summary: 'No operator of aoe-csi leads, or Prometheus does not read its metrics.',
  },
  {
    alert: 'AoEDiskDown',
    series: { [`aoe_csi_node_disk_down_seconds{${VOLUME},${INSTANCE}}`]: gauge('_', 7) },
    labels: ofVolume,
    summary: 'A node has given up the disk of volume pvc-1.',
  },
  {
    alert: 'AoEVolumesFailed',
    series: {
      [ofOperator('aoe_csi_volumes', 'phase="Failed",reason="AddressConflict"')]: gauge(0, 2),
      // Two replicas count the same volumes.
      'aoe_csi_volumes{instance="10.0.0.2:9808",phase="Failed",reason="AddressConflict"}': gauge('_', 2),
    },
    labels: { reason: 'AddressConflict' },
    summary: '2 AoEVolumes are Failed: AddressConflict.',
  },
  {
    alert: 'AoEVolumesPending',
    series: {
      [ofOperator('aoe_csi_volume_waiting_seconds', 'reason="NoEligibleNode"')]: gauge(1799, 1860),
      // Volumes come all the time, and each waits for a minute.
      [ofOperator('aoe_csi_volumes', 'phase="Pending",reason="Waiting"')]: gauge(2, 2),
      [ofOperator('aoe_csi_volume_waiting_seconds', 'reason="Waiting"')]: gauge(60, 60),
      // A wipe takes as long as the disk needs.
      [ofOperator('aoe_csi_volumes', 'phase="Pending",reason="Wiping"')]: gauge(1, 1),
    },
    labels: { reason: 'NoEligibleNode' },
    summary: 'An AoEVolume has been waiting for 31m 0s: NoEligibleNode.',
  },
  {
    alert: 'AoEPoolNotReady',
    series: { [`aoe_agent_pool_ready{pool="fast",${INSTANCE}}`]: gauge(1, 0) },
    labels: { instance, pool: 'fast' },
    summary: 'Pool fast cannot be used on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEPoolNearlyFull',
    series: {
      [`aoe_agent_pool_free_bytes{pool="fast",${INSTANCE}}`]: gauge(110, 50),
      [`aoe_agent_pool_size_bytes{pool="fast",${INSTANCE}}`]: gauge(1000, 1000),
      // A pool without space, such as one that is not ready, is not one that is full.
      [`aoe_agent_pool_free_bytes{pool="gone",${INSTANCE}}`]: gauge(0, 0),
      [`aoe_agent_pool_size_bytes{pool="gone",${INSTANCE}}`]: gauge(0, 0),
    },
    labels: { instance, pool: 'fast' },
    summary: 'Pool fast has 5% left on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEThinPoolFilling',
    series: {
      ...thin('thin', 'metadata', gauge(0.79, 0.85)),
      // No more was promised than there is: the data may be written full, and the metadata may not.
      ...thin('thin', 'data', gauge(0.9, 1), 0),
    },
    labels: { instance, pool: 'thin', part: 'metadata' },
    summary: 'The thin pool of thin is 85% full (metadata) on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEThinPoolNearlyFull',
    series: { ...thin('thin', 'data', gauge(0.94, 0.97), 1), ...thin('written', 'data', gauge(0.9, 1), 0) },
    labels: { instance, pool: 'thin', part: 'data' },
    summary: 'The thin pool of thin is 97% full (data) on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEOrphanedData',
    series: {
      [`aoe_agent_pool_orphans{pool="fast",${INSTANCE}}`]: gauge(0, 2),
      [`aoe_agent_pool_orphaned_snapshots{pool="fast",${INSTANCE}}`]: gauge(0, 1),
    },
    labels: { instance, pool: 'fast' },
    summary: 'Pool fast has 3 backing volumes or snapshots without an AoEVolume or AoESnapshot on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEDisplacedData',
    series: { [`aoe_agent_pool_displaced{pool="fast",${INSTANCE}}`]: gauge(0, 3) },
    labels: { instance, pool: 'fast' },
    summary: 'Pool fast has 3 backing volumes on the node of 10.0.0.1:9811 whose AoEVolume is placed on another node.',
  },
  {
    alert: 'AoEBackingDiskErrors',
    series: { [`aoe_target_request_errors_total{${VOLUME},${INSTANCE},kind="read",initiator="02:00:00:00:00:01"}`]: counter(0, 1) },
    labels: ofVolume,
    summary: 'The disk below volume pvc-1 gives errors on the node of 10.0.0.1:9811.',
  },
  {
    alert: 'AoEBackingDiskSlow',
    series: { [`aoe_target_repeated_requests_total{${VOLUME},${INSTANCE},initiator="02:00:00:00:00:01"}`]: counter(5, 12) },
    labels: ofVolume,
    summary: 'The disk below volume pvc-1 takes longer than the hosts wait.',
  },
  {
    alert: 'AoERequestsSlow',
    // Of a hundred requests a minute two take up to 1 s during the fault, and none does otherwise.
    series: { [bucket('0.1')]: counter(100, 98), [bucket('1')]: counter(100, 100), [bucket('+Inf')]: counter(100, 100) },
    labels: { volume: 'pvc-1', namespace: 'shop', pvc: 'db', kind: 'read' },
    summary: '1 of 100 requests (read) of volume pvc-1 takes longer than 550ms.',
  },
  {
    alert: 'AoEFramesLost',
    series: { [`aoe_target_lost_frames_total{${INSTANCE},interface="eth1",where="receive_ring"}`]: counter(54, 120) },
    labels: { instance, interface: 'eth1', where: 'receive_ring' },
    summary: 'The storage node of 10.0.0.1:9811 loses 2 frames a second on eth1 (receive_ring).',
  },
  {
    alert: 'AoERequestsDropped',
    series: { [`aoe_target_dropped_requests_total{${VOLUME},${INSTANCE},initiator="02:00:00:00:00:01"}`]: counter(54, 120) },
    labels: ofVolume,
    summary: 'Hosts of volume pvc-1 send more requests than the target on the node of 10.0.0.1:9811 can queue.',
  },
  {
    alert: 'AoEHostRefused',
    series: {
      [`aoe_target_refused_frames_total{${VOLUME},${INSTANCE},reason="not_in_force"}`]: counter(0, 6),
      // A lock that somebody else has is nothing that wakes a person.
      [`aoe_target_refused_frames_total{${VOLUME},${INSTANCE},reason="lock_held"}`]: counter(6, 6),
    },
    labels: ofVolume,
    summary: 'A host that may not use volume pvc-1 sends requests to it.',
  },
  {
    alert: 'AoEHostFloods',
    series: { [`aoe_target_refused_frames_total{volume="",namespace="",pvc="",${INSTANCE},reason="flood"}`]: counter(0, 6) },
    labels: { instance },
    summary: 'A host sends far more requests to the storage node of 10.0.0.1:9811 than it may.',
  },
  {
    alert: 'AoETakeover',
    series: { 'aoe_csi_takeover_volumes_total{instance="10.0.0.1:9808"}': counter(0, 1) },
    labels: { instance: '10.0.0.1:9808' },
    summary: 'The operator has taken volumes from a silent node.',
  },
  {
    alert: 'AoETakeoverHeld',
    series: { 'aoe_csi_takeover_held{instance="10.0.0.1:9808",node="worker-1",reason="NoEvidence"}': gauge('_', 1) },
    labels: { node: 'worker-1', reason: 'NoEvidence' },
    summary: 'Node worker-1 is not Ready, and its volumes are not taken over (NoEvidence).',
  },
  {
    alert: 'AoEReconcilesFail',
    series: {
      'controller_runtime_reconcile_total{namespace="aoe",pod="agent-1",controller="volume",result="error"}': counter(1, 3),
      // Other programs have metrics of this name, too.
      'controller_runtime_reconcile_total{namespace="other",pod="theirs",controller="x",result="error"}': counter(60, 60),
    },
    labels: { pod: 'agent-1', controller: 'volume' },
    summary: 'Controller volume of pod agent-1 has been failing for half an hour.',
  },
];

/** Minutes of a duration such as 30m or 1h; an alert without one fires at once. */
const minutes = (duration = '0m'): number => Number.parseInt(duration, 10) * (duration.endsWith('h') ? 60 : 1);
const expand = (text: string, labels: Readonly<Record<string, string>>): string =>
  text.replaceAll(/{{ \$labels\.(\w+) }}/g, (_all, name: string) => labels[name] ?? '');

/** A test of promtool: the alert is not there while all is well and before its time, is there, and is gone after the fault. */
function testOf({ alert, series, labels, summary }: Case, rule: Manifest): object {
  const waits = minutes(rule.for);
  const fires = {
    exp_labels: { ...labels, severity: rule.labels.severity },
    exp_annotations: { summary, description: expand(rule.annotations.description, labels) },
  };
  const at = (minute: number, expected: object[] = []) => ({ eval_time: `${minute}m`, alertname: alert, exp_alerts: expected });
  return {
    name: alert,
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [
      at(WELL - 1),
      ...(waits > 0 ? [at(WELL + waits - 1)] : []),
      at(WELL + FAULT - 5, [fires]),
      at(WELL + FAULT + AFTER - 5),
    ],
  };
}

describe("the alerts, by Prometheus' own rules", () => {
  let folder: string;
  let program: string;
  let rules: Manifest;
  beforeAll(async () => {
    program = await promtool();
    folder = mkdtempSync(join(tmpdir(), 'aoe-csi-rules-'));
    const manifests = await render({ metrics: { prometheusRule: { enabled: true } } });
    rules = manifests.find(({ kind }) => kind === 'PrometheusRule').spec;
    writeFileSync(join(folder, 'rules.yaml'), stringify(rules));
  }, 1_800_000);
  afterAll(() => {
    if (folder) rmSync(folder, { recursive: true });
  });

  const ruleOf = (name: string) => rules.groups[0].rules.find(({ alert }: { alert: string }) => alert === name);
  /** What promtool prints. Rejects when a test fails. */
  function test(cases: readonly Case[]): Promise<string> {
    const tests = cases.map((each) => testOf(each, ruleOf(each.alert)));
    const file = join(folder, 'test.yaml');
    writeFileSync(file, stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }, { aliasDuplicateObjects: false }));
    return run(program, ['test', 'rules', file]);
  }

  it('are rules that Prometheus accepts', async () => {
    expect(await run(program, ['check', 'rules', '--lint=all', '--lint-fatal', join(folder, 'rules.yaml')])).toMatch(
      `${CASES.length} rules found`,
    );
  });

  it('each have a case here', () => {
    expect(CASES.map(({ alert }) => alert)).toStrictEqual(rules.groups[0].rules.map(({ alert }: { alert: string }) => alert));
  });

  it('fire when they have waited long enough, say what is wrong, and resolve', async () => {
    expect(await test(CASES)).toMatch('SUCCESS');
  });

  it('are checked: an alert that would not fire is found', async () => {
    const [first, ...others] = CASES;
    if (!first) throw new Error('there are no cases');
    const quiet = { ...first, series: { [`aoe_target_up{${INSTANCE}}`]: gauge(1, 1) } };
    await expect(test([quiet, ...others])).rejects.toThrow(/AoETargetDown/);
  });
});
