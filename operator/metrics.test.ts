import type { KubeNode } from '../api/kube-node.ts';
import type { AoENode } from '../api/node.ts';
import { metricsText } from '../run/metrics.ts';
import { countVolumes, registerLead, registerStorageNodes } from './metrics.ts';
import { registerTakeovers } from './takeover/metrics.ts';

const node = (name: string, status: object): AoENode => ({ metadata: { name }, spec: {}, status }) as never;
const kubeNode = (name: string, status: string): KubeNode => ({ metadata: { name }, status: { conditions: [{ type: 'Ready', status }] } });
const nodes = [
  node('storage-1', { agentSeen: '2026-01-01T00:00:00Z' }),
  node('storage-2', { agentSeen: '2026-01-01T00:00:00Z' }),
  node('storage-3', { agentSeen: '2026-01-01T00:00:00Z' }),
  node('worker-1', {}),
];
const kubeNodes = new Map([
  ['storage-1', kubeNode('storage-1', 'True')],
  ['storage-2', kubeNode('storage-2', 'Unknown')],
]);
const silent = new Set(['storage-1']);
const volume = {
  metadata: { name: 'v' },
  spec: { pool: 'fast', nodeName: 'storage-1', capacity: '1Ki' },
  status: { phase: 'Failed', conditions: [{ type: 'Ready', status: 'False', reason: 'PoolFull' }] },
};

test('the leader alone counts, and tells of the storage nodes whose agents or Nodes say nothing', async () => {
  const ours = { isOurs: false };
  registerLead(ours);
  const agents = { silence: ({ metadata: { name } }: AoENode) => (silent.has(name) ? 'silent' : undefined) };
  registerStorageNodes({ nodes: { list: () => nodes }, kubeNodes, agents }, ours);
  countVolumes({ volumes: { list: () => [volume as never] }, waits: { longest: () => new Map([['Waiting', 7]]) } }, ours);
  registerTakeovers({ held: new Map([['worker-1', 'NoEvidence' as const]]), taken: 3 }, ours);
  const read = async () => (await metricsText()).split('\n').filter((line) => line.startsWith('aoe_csi_'));
  // A counter goes on: that of each replica is its own.
  const ofAll = 'aoe_csi_takeover_volumes_total 3';
  expect(await read()).toStrictEqual(['aoe_csi_operator_leading 0', ofAll]);

  ours.isOurs = true;
  expect(await read()).toStrictEqual([
    'aoe_csi_operator_leading 1',
    'aoe_csi_agent_silent{node="storage-1"} 1',
    'aoe_csi_agent_silent{node="storage-2"} 0',
    'aoe_csi_agent_silent{node="storage-3"} 0',
    'aoe_csi_storage_node_ready{node="storage-1"} 1',
    'aoe_csi_storage_node_ready{node="storage-2"} 0',
    'aoe_csi_storage_node_ready{node="storage-3"} 0',
    'aoe_csi_volumes{phase="Failed",reason="PoolFull"} 1',
    'aoe_csi_volume_waiting_seconds{reason="Waiting"} 7',
    'aoe_csi_reserved_bytes{pool="fast",node="storage-1"} 1024',
    ofAll,
    'aoe_csi_takeover_held{node="worker-1",reason="NoEvidence"} 1',
  ]);

  ours.isOurs = false;
  expect(await read()).toStrictEqual(['aoe_csi_operator_leading 0', ofAll]);
});
