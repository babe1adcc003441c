import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { SnapshotCopies, sourceOf } from './copies.ts';
import { reconcileSnapshot } from './reconciler.ts';

const signal = new AbortController().signal;
const TAKEN = { type: 'Taken', status: 'True', reason: 'Taken', message: 'vg0/aoe-snap-1 has the data of 08:00' };

async function ready({
  spec = {},
  status,
  metadata = {},
  volume = { spec: { nodeName: 'n' } },
  nodes = true,
  kubeNode = 'True',
}: {
  spec?: object;
  status?: object;
  metadata?: object;
  volume?: object | null;
  nodes?: boolean;
  kubeNode?: 'True' | 'Unknown' | null;
} = {}) {
  const kube = new FakeApi();
  const put = (kind: string, name: string, rest: object) => kube.put({ kind, metadata: { name }, ...rest } as never);
  put('AoESnapshot', 's', { metadata: { name: 's', uid: 's', generation: 2, ...metadata }, spec: { volumeName: 'v', ...spec }, status });
  if (volume) put('AoEVolume', 'v', { metadata: { name: 'v', uid: 'v-uid' }, ...volume });
  if (nodes) put('AoENode', 'n', {});
  if (kubeNode) put('Node', 'n', { status: { conditions: [{ type: 'Ready', status: kubeNode }] } });
  const parts = {
    kube,
    snapshots: kube.store<AoESnapshot>('AoESnapshot'),
    groups: kube.store<AoESnapshotGroup>('AoESnapshotGroup'),
    volumes: kube.store<AoEVolume>('AoEVolume'),
    nodes: kube.store<AoENode>('AoENode'),
    kubeNodes: kube.store<KubeNode>('Node'),
  };
  const bySource = {
    get: (name: string) => parts.volumes.list().flatMap((each) => (sourceOf(each).includes(name) ? [each.metadata.name] : [])),
  };
  const copies = new SnapshotCopies({ ...parts, pools: { get: () => undefined }, bySource });
  await reconcileSnapshot({ ...parts, copies, newCopyAddress: () => ({ shelf: 9, slot: 0 }) }, 's', signal);
  const now = kube.store<AoESnapshot>('AoESnapshot').get('s');
  const condition = now?.status?.conditions?.find(({ type }) => type === 'Ready');
  return [now?.status?.phase, condition?.status, condition?.reason];
}

for (const [what, cluster, want] of [
  ['whose agent has not reported yet waits', {}, ['Pending', 'False', 'Waiting']],
  ['is what its agent says', { status: { nodeName: 'n', conditions: [TAKEN] } }, ['Ready', 'True', 'Taken']],
  ['of a volume that is gone is as good', { volume: null, status: { nodeName: 'n', conditions: [TAKEN] } }, ['Ready', 'True', 'Taken']],
  [
    'whose data is being copied waits',
    { status: { nodeName: 'n', conditions: [{ ...TAKEN, status: 'False', reason: 'Copying' }] } },
    ['Pending', 'False', 'Copying'],
  ],
  [
    'that cannot be taken has failed',
    { status: { nodeName: 'n', conditions: [{ ...TAKEN, status: 'False', reason: 'PoolFull' }] } },
    ['Failed', 'False', 'PoolFull'],
  ],
  [
    'whose volume could not be held still waits',
    { status: { nodeName: 'n', conditions: [{ ...TAKEN, status: 'False', reason: 'NotHeld' }] } },
    ['Pending', 'False', 'NotHeld'],
  ],
  ['of no volume has failed', { volume: null }, ['Failed', 'False', 'VolumeNotFound']],
  ['of another volume of that name has failed', { spec: { volumeUID: 'other' } }, ['Failed', 'False', 'VolumeNotFound']],
  ['of a volume without a node waits', { volume: { spec: {} } }, ['Pending', 'False', 'VolumeNotReady']],
  ['of an external volume has failed', { volume: { spec: { external: {} } } }, ['Failed', 'False', 'SnapshotsUnsupported']],
  ['on a node that is down is not known', { kubeNode: 'Unknown' }, ['Pending', 'Unknown', 'StorageNodeNotReady']],
  ['on a node that is gone has failed', { nodes: false, kubeNode: null }, ['Failed', 'False', 'StorageNodeGone']],
  [
    'that is deleted says what that waits for',
    {
      metadata: { deletionTimestamp: '2026-11-28T08:00:00Z', finalizers: ['x'] },
      status: { nodeName: 'n', conditions: [{ ...TAKEN, reason: 'BackingBusy', message: 'deletion waits: in use' }] },
    },
    ['Deleting', 'False', 'BackingBusy'],
  ],
  ['that is deleted', { metadata: { deletionTimestamp: '2026-11-28T08:00:00Z', finalizers: ['x'] } }, ['Deleting', 'False', 'Deleting']],
] as [string, Parameters<typeof ready>[0], unknown[]][]) {
  test(`a snapshot ${what}`, async () => expect(await ready({ kubeNode: 'True', ...cluster })).toStrictEqual(want));
}
