import { reservationOf } from '../../../api/capacity.ts';
import type { NodeHealth } from '../../../api/eligibility.ts';
import type { AoENode } from '../../../api/node.ts';
import type { AoEPool } from '../../../api/pool.ts';
import { roundUp } from '../../../api/quantity.ts';
import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, API_VERSION } from '../../../api/resources.ts';
import type { AoESnapshot, AoESnapshotStatus } from '../../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../../api/snapshot-group.ts';
import { type AoEVolume, type AoEVolumeSpec, type AoEVolumeStatus, VOLUME_FINALIZER } from '../../../api/volume.ts';
import { TimeoutError } from '../../../kube/mod.ts';
import { FakeApi } from '../../../kube/testing/fake-api.ts';
import { BusyVolumes } from '../../busy-volumes.ts';
import type { Deps } from '../deps.ts';
import { UnplacedVolumes } from '../unplaced.ts';

/** What operator and agent make of a new volume. */
export type Reaction = Pick<AoEVolume, 'status'> & { spec?: Partial<AoEVolumeSpec>; finalizers?: string[] };

export const ready: Reaction = {
  spec: { nodeName: 'a', address: { shelf: 1, slot: 0 } },
  finalizers: [VOLUME_FINALIZER],
  status: {
    capacity: '1Gi',
    phase: 'Ready',
    conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', message: 'ready', lastTransitionTime: '' }],
  },
};

/** An API server with a pool `default` on node `a`, and caches that are never late. */
export function fakeDeps({
  reaction,
  snapshotStatus,
  onGroup,
  health = {},
  hasAutomaticTakeover = true,
  now = () => 0,
}: {
  reaction?: Reaction | undefined;
  /** What operator and agent make of a new snapshot. */
  snapshotStatus?: AoESnapshotStatus | undefined;
  /** Operator and agents: called with a group that is waited for. */
  onGroup?: (api: FakeApi, group: AoESnapshotGroup & { kind: string }) => void;
  health?: NodeHealth;
  hasAutomaticTakeover?: boolean;
  /** A clock, in milliseconds. */
  now?: () => number;
} = {}) {
  const api = new FakeApi();
  const warnings: unknown[] = [];
  putNode(api, 'a');
  putPool(api, 'default', [{ name: 'a', ready: true, size: '10Gi', free: '10Gi', granularity: '4Mi' }]);
  const deps = {
    kube: api,
    volumes: {
      ...api.store<AoEVolume>('AoEVolume'),
      waitFor: async (name: string, ask: (volume: AoEVolume | undefined) => unknown) => {
        const volume = api.read<AoEVolume>(AOE_VOLUMES, name);
        if (volume && reaction && !volume.status) {
          const { spec, finalizers, status } = reaction;
          const metadata = { ...volume.metadata, ...(finalizers ? { finalizers } : {}) };
          api.put({ ...volume, metadata, spec: { ...volume.spec, ...spec }, ...(status ? { status } : {}) });
        }
        const answer = ask(api.read<AoEVolume>(AOE_VOLUMES, name));
        if (answer === undefined) throw new TimeoutError('nothing more happens');
        return answer;
      },
    },
    reserved: {
      total: (key: string, grain: number, each = 0) => {
        const parts = api.store<AoEVolume>('AoEVolume').list().map(reservationOf);
        return parts.reduce((sum, part) => (part?.key === key ? sum + roundUp(part.size, grain) + each : sum), 0);
      },
    },
    snapshots: {
      ...api.store<AoESnapshot>('AoESnapshot'),
      waitFor: async (name: string, ask: (snapshot: AoESnapshot | undefined) => unknown) => {
        const snapshot = api.read<AoESnapshot>(AOE_SNAPSHOTS, name);
        if (snapshot && snapshotStatus && !snapshot.status) api.put({ ...snapshot, status: snapshotStatus });
        const answer = ask(api.read<AoESnapshot>(AOE_SNAPSHOTS, name));
        if (answer === undefined || answer === false) throw new TimeoutError('nothing more happens');
        return answer;
      },
    },
    groups: {
      ...api.store<AoESnapshotGroup>('AoESnapshotGroup'),
      waitFor: async (name: string, ask: (group: AoESnapshotGroup | undefined) => unknown) => {
        const group = api.read<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, name);
        if (group) onGroup?.(api, group);
        const answer = ask(api.read<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, name));
        if (answer === undefined || answer === false) throw new TimeoutError('nothing more happens');
        return answer;
      },
    },
    pools: api.store<AoEPool>('AoEPool'),
    nodes: api.store<AoENode>('AoENode'),
    health,
    hasAutomaticTakeover,
    events: api,
    busy: new BusyVolumes(),
    unplaced: new UnplacedVolumes(now),
    log: { warn: (fields: unknown) => warnings.push(fields) },
  } as unknown as Deps;
  return { api, deps, warnings };
}

/** A watch that is late: it has not shown anything yet. */
export const lateWatch = {
  get: () => undefined,
  list: () => [],
  waitFor: async (_name: string, ask: (object: undefined) => unknown): Promise<never> => {
    const answer = ask(undefined);
    if (answer === undefined || answer === false) throw new TimeoutError('nothing more happens');
    return answer as never;
  },
};

export function putNode(api: FakeApi, name: string, { segment, maintenance = false }: { segment?: string; maintenance?: boolean } = {}) {
  const status = segment === undefined ? {} : { segment };
  api.put<AoENode>({ apiVersion: API_VERSION, kind: 'AoENode', metadata: { name }, spec: { maintenance }, status });
}

export function putPool(api: FakeApi, name: string, nodes: NonNullable<AoEPool['status']>['nodes']): void {
  const spec = { backend: 'file', directory: '/d' } as const;
  api.put<AoEPool>({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name }, spec, status: { nodes } });
}

export function putVolume(api: FakeApi, name: string, spec: Partial<AoEVolumeSpec> = {}, status: AoEVolumeStatus = {}): void {
  api.put<AoEVolume>({
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name, finalizers: [VOLUME_FINALIZER] },
    spec: { pool: 'default', capacity: '1Gi', access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
    status,
  });
}
