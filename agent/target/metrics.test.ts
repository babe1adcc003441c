import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { metricsText } from '../../run/metrics.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import type { TargetStats } from './api.ts';
import { TargetMetrics } from './metrics.ts';

const STATS: TargetStats = {
  latencyBounds: [0.000004, 0.000008],
  volumes: [
    {
      uid: 'u-1',
      initiators: [
        {
          mac: '02:00:00:00:00:01',
          requests: { write: { errors: 1, bytes: 4096, seconds: 0.002, latency: [1, 0, 1] } },
          repeats: 3,
          dropped: 0,
          throttled: 2.5,
        },
        { mac: '', requests: {}, repeats: 0, dropped: 7, throttled: 0 },
      ],
      refused: { not_in_force: 2 },
      reclaimed: 65_536,
    },
    { uid: 'u-gone', initiators: [], refused: { masked: 1 }, reclaimed: 0 },
  ],
  interfaces: [{ name: 'eth1', received: 10, sent: 9, ringDropped: 1, receiveLost: 0, sendFailed: 2, answersDropped: 0 }],
  refused: { malformed: 4 },
};

function node(name: string, ...macs: string[]): AoENode {
  const interfaces = macs.map((mac) => ({ name: 'eth0', mac, mtu: 1500 }));
  return { metadata: { name }, spec: {}, status: { interfaces } } as unknown as AoENode;
}

test('what the target counts is shown with the names that people know', async () => {
  const target = new FakeTarget();
  target.stats = STATS;
  const volumes = {
    list: () => [{ metadata: { name: 'pvc-1', uid: 'u-1', annotations: { 'aoe.dev/claim': 'shop/data' } } } as unknown as AoEVolume],
  };
  const nodes = { list: () => [node('worker-1', '02:00:00:00:00:01'), node('worker-2')] };
  const connection = { connected: true, served: 0 };
  new TargetMetrics({ api: target, connection, volumes, nodes }, AbortSignal.timeout(10_000)).register();
  const read = async (): Promise<string[]> => (await metricsText()).split('\n').filter((line) => line.startsWith('aoe_target_'));

  const who = 'volume="pvc-1",namespace="shop",pvc="data",initiator="02:00:00:00:00:01",initiator_node="worker-1"';
  const other = 'volume="pvc-1",namespace="shop",pvc="data",initiator="other",initiator_node=""';
  expect(await read()).toStrictEqual([
    'aoe_target_up 1',
    `aoe_target_request_duration_seconds_bucket{${who},kind="write",le="0.000004"} 1`,
    `aoe_target_request_duration_seconds_bucket{${who},kind="write",le="0.000008"} 1`,
    `aoe_target_request_duration_seconds_bucket{${who},kind="write",le="+Inf"} 2`,
    `aoe_target_request_duration_seconds_sum{${who},kind="write"} 0.002`,
    `aoe_target_request_duration_seconds_count{${who},kind="write"} 2`,
    `aoe_target_bytes_total{${who},kind="write"} 4096`,
    `aoe_target_request_errors_total{${who},kind="write"} 1`,
    `aoe_target_repeated_requests_total{${who}} 3`,
    `aoe_target_repeated_requests_total{${other}} 0`,
    `aoe_target_dropped_requests_total{${who}} 0`,
    `aoe_target_dropped_requests_total{${other}} 7`,
    `aoe_target_throttled_seconds_total{${who}} 2.5`,
    `aoe_target_throttled_seconds_total{${other}} 0`,
    'aoe_target_refused_frames_total{volume="",namespace="",pvc="",reason="flood"} 0',
    'aoe_target_refused_frames_total{volume="",namespace="",pvc="",reason="malformed"} 4',
    'aoe_target_refused_frames_total{volume="pvc-1",namespace="shop",pvc="data",reason="not_in_force"} 2',
    'aoe_target_refused_frames_total{volume="u-gone",namespace="",pvc="",reason="not_in_force"} 0',
    'aoe_target_refused_frames_total{volume="u-gone",namespace="",pvc="",reason="masked"} 1',
    'aoe_target_reclaimed_bytes_total{volume="pvc-1",namespace="shop",pvc="data"} 65536',
    'aoe_target_received_frames_total{interface="eth1"} 10',
    'aoe_target_sent_frames_total{interface="eth1"} 9',
    'aoe_target_lost_frames_total{interface="eth1",where="receive_ring"} 1',
    'aoe_target_lost_frames_total{interface="eth1",where="receive"} 0',
    'aoe_target_lost_frames_total{interface="eth1",where="send"} 2',
    'aoe_target_lost_frames_total{interface="eth1",where="answer"} 0',
  ]);
  expect(target.calls, 'one question for a whole scrape').toHaveLength(1);

  nodes.list = () => [node('worker-1', '02:00:00:00:00:01'), node('worker-2', '02:00:00:00:00:01')];
  expect(
    (await read()).some((line) => line.includes('initiator="02:00:00:00:00:01",initiator_node=""')),
    'two nodes claim it',
  ).toBe(true);
  target.stop();
  expect(await read()).toStrictEqual(['aoe_target_up 0']);
  target.start();
  expect(await read()).toHaveLength(26);
});
