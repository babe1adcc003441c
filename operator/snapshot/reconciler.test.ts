import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { SnapshotCopies, sourceOf } from './copies.ts';
import { reconcileSnapshot } from './reconciler.ts';

const signal = new AbortController().signal;
const TAKEN = { type: 'Taken', status: 'True', reason: 'Taken', message: 'vg0/aoe-snap-1 has the data of 08:00' };

async function reconciled({
  spec = {},
  status,
  metadata = {},
  volume = { spec: { nodeName: 'n' } },
  group,
  assigned,
  nodes = true,
  kubeNode = 'True',
  copyTo,
}: {
  spec?: object;
  status?: object;
  metadata?: object;
  volume?: object | null;
  group?: object;
  /** The node to which this operator has assigned the snapshot before. */
  assigned?: string;
  nodes?: boolean;
  kubeNode?: 'True' | 'Unknown' | null;
  /** A node on which a volume waits to be copied from the snapshot, and there is no address. */
  copyTo?: string;
} = {}) {
  const kube = new FakeApi();
  const put = (kind: string, name: string, rest: object) => kube.put({ kind, metadata: { name }, ...rest } as never);
  put('AoESnapshot', 's', { metadata: { name: 's', uid: 's', generation: 2, ...metadata }, spec: { volumeName: 'v', ...spec }, status });
  if (assigned) {
    const object = { metadata: { name: 's' }, status: { assignedNode: assigned } };
    await kube.apply({ kind: 'AoESnapshot' }, object, { fieldManager: FIELD_MANAGER, subresource: 'status' });
  }
  if (volume) put('AoEVolume', 'v', { metadata: { name: 'v', uid: 'v-uid' }, ...volume });
  if (group) put('AoESnapshotGroup', 'g', { metadata: { name: 'g', uid: 'g-uid' }, ...group });
  if (nodes) put('AoENode', 'n', {});
  if (copyTo) {
    const copySpec = { ...PLACED.spec, nodeName: copyTo, source: { snapshot: 's' } };
    put('AoEVolume', 'copy', { metadata: { ...PLACED.metadata, name: 'copy' }, spec: copySpec });
  }
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
  const newCopyAddress = () =>
    copyTo ? { refused: 'AddressRangeExhausted' as const, message: 'no address is free' } : { shelf: 9, slot: 0 };
  const result = await reconcileSnapshot({ ...parts, events: kube, copies, newCopyAddress }, 's', signal);
  const now = kube.store<AoESnapshot>('AoESnapshot').get('s');
  return { ...now?.status, result, events: kube.events };
}

async function ready(cluster: Parameters<typeof reconciled>[0]): Promise<unknown[]> {
  const status = await reconciled(cluster);
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  return [status?.phase, condition?.status, condition?.reason];
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

const PLACED = {
  metadata: { name: 'v', uid: 'v-uid', finalizers: [VOLUME_FINALIZER] },
  spec: { nodeName: 'n', pool: 'p', address: { shelf: 1, slot: 1 } },
};
const MEMBER = { spec: { group: { name: 'g', uid: 'g-uid' } } };

for (const [what, cluster, want] of [
  ['is assigned to the node of its volume', { volume: PLACED }, 'n'],
  ['goes with the volume that was moved before it was taken', { volume: PLACED, assigned: 'before' }, 'n'],
  ['that an agent has is assigned no more', { volume: PLACED, status: { nodeName: 'n' }, assigned: 'n' }, undefined],
  ['of a volume that only asks for a node is assigned to none', { volume: { spec: PLACED.spec } }, undefined],
  ['of another volume of that name is assigned to none', { volume: PLACED, spec: { volumeUID: 'other' } }, undefined],
  [
    'of a volume that is being moved is assigned to none',
    { volume: { ...PLACED, spec: { ...PLACED.spec, move: { stage: 'Copying' } } }, assigned: 'n' },
    undefined,
  ],
  [
    'that is deleted is assigned to none',
    { volume: PLACED, metadata: { deletionTimestamp: '2026-11-28T08:00:00Z', finalizers: ['x'] } },
    undefined,
  ],
  [
    'of a group is assigned to the node that the group names',
    { ...MEMBER, volume: PLACED, group: { status: { stage: 'Preparing', members: [{ name: 's', nodeName: 'named' }] } } },
    'named',
  ],
  ['of a group that names no member yet is assigned to none', { ...MEMBER, volume: PLACED, group: {} }, undefined],
] as [string, Parameters<typeof reconciled>[0], string | undefined][]) {
  test(`a snapshot ${what}`, async () => expect((await reconciled(cluster))?.assignedNode).toBe(want));
}

test('a snapshot for whose copies no address is free says so, and asks again', async () => {
  const data = { nodeName: 'n', createdAt: '2026-11-28T08:00:00Z', conditions: [TAKEN] };
  const { copies, copyAddress, result, events } = await reconciled({ status: data, copyTo: 'm' });
  expect([copies, copyAddress]).toStrictEqual([[{ volume: 'copy', node: 'm' }], undefined]);
  expect(result).toStrictEqual({ requeueAfterMs: 30_000 });
  expect(events).toMatchObject([{ reason: 'NoCopyAddress', message: 'volumes wait to be copied from the snapshot: no address is free' }]);
});
