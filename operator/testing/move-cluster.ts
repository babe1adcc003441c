import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool, Displaced, PoolNode } from '../../api/pool.ts';
import { MiB } from '../../api/quantity.ts';
import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, type AoEVolumeSpec, type AoEVolumeStatus, MOVE_TO, VOLUME_FINALIZER } from '../../api/volume.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { AddressRange } from '../placement/address-range.ts';
import { VolumeReconciler } from '../volume/reconciler.ts';
import { indexesOf } from './indexes.ts';

export const signal = new AbortController().signal;
export const UID = '11111111-2222-3333-4444-555555555555';
export const FOUND: Displaced = { uid: UID, volume: 'v', bytes: 1024 * MiB };

/** What differs from the ordinary. */
export interface World {
  annotations?: Record<string, string>;
  /** Objects of the old node, storage-1, that are still there. */
  exists?: ('Node' | 'AoENode')[];
  spec?: Partial<AoEVolumeSpec>;
  status?: Partial<AoEVolumeStatus>;
  /** What the agent on storage-2 reports of pool p. */
  entry?: Partial<PoolNode>;
  silent?: boolean;
  attachedUID?: string;
  maintenance?: boolean;
  deleted?: boolean;
}

/** A volume whose storage node, storage-1, is gone, and whose disks are in storage-2. */
export function cluster({ annotations = { [MOVE_TO]: 'storage-2' }, exists = [], ...world }: World = {}) {
  const api = new FakeApi();
  for (const kind of exists) api.put({ apiVersion: API_VERSION, kind, metadata: { name: 'storage-1' } });
  api.put({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'storage-2' } });
  api.put({ apiVersion: API_VERSION, kind: 'AoENode', metadata: { name: 'storage-2' }, spec: { maintenance: world.maintenance } } as never);
  const entry = { name: 'storage-2', ready: true, size: '4Gi', displacedBytes: '1Gi', displacedVolumes: [FOUND], ...world.entry };
  const poolOf = (name: string, nodes: object[]) =>
    api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name }, spec: {}, status: { nodes } } as never);
  poolOf('p', [entry]);
  poolOf('q', [{ ...entry, displacedVolumes: [] }]);
  if (world.attachedUID !== undefined) {
    const metadata = { name: 'csi-123' };
    const status = { attached: true, attachmentMetadata: { volumeUID: world.attachedUID } };
    api.put({ kind: 'VolumeAttachment', metadata, spec: { attacher: 'aoe.dev', nodeName: 'worker' }, status } as never);
  }
  const told = (type: string) => ({ type, status: 'True' as const, reason: 'R', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' });
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: {
      name: 'v',
      uid: UID,
      finalizers: [VOLUME_FINALIZER],
      annotations,
      ...(world.deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      capacity: '1Gi',
      pool: 'p',
      access: 'Exclusive',
      deletionPolicy: 'Delete',
      nodeName: 'storage-1',
      address: { shelf: 1, slot: 0 },
      initiators: {},
      ...world.spec,
    },
    status: {
      capacity: '1Gi',
      serial: '11111111222233334444',
      conditions: ['Provisioned', 'Exported'].map(told),
      ...world.status,
    },
  };
  api.put(volume);
  const stored = () => api.all<AoEVolume>('AoEVolume');
  const make = () =>
    new VolumeReconciler({
      copies: { at: () => undefined },
      kube: api,
      volumes: api.store<AoEVolume>('AoEVolume'),
      ...indexesOf(stored),
      pools: api.store<AoEPool>('AoEPool'),
      nodes: api.store<AoENode>('AoENode'),
      kubeNodes: api.store<KubeNode>('Node'),
      snapshots: api.store<AoESnapshot>('AoESnapshot'),
      agents: { silence: () => (world.silent ? 'the agent on storage-2 is silent' : undefined) },
      events: api,
      range: new AddressRange('1'),
      statusDelayMs: 0,
      log: createLog('test', 'silent'),
    });
  const reconciler = make();
  const live = () => api.read<AoEVolume>(AOE_VOLUMES, 'v');
  return {
    api,
    live,
    make,
    reconcile: () => reconciler.reconcile('v', signal),
    ready: () => live()?.status?.conditions?.find(({ type }) => type === 'Ready'),
    reasons: () => api.events.map(({ reason }) => reason),
  };
}
