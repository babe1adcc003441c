import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeSpec } from '../../api/volume.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { AddressRange } from '../placement/address-range.ts';
import { VolumeReconciler } from '../volume/reconciler.ts';
import { indexesOf } from './indexes.ts';

const signal = new AbortController().signal;
const log = createLog('test', 'silent');

/** A volume of 6 GiB in pool `default`. */
export function volume(name: string, spec: Partial<AoEVolumeSpec> = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { capacity: '6Gi', pool: 'default', access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
  };
}

/** A volume of somebody else's target at 9.SLOT. */
export function external(name: string, slot: number, serial: string): AoEVolume {
  const spec = { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', external: { shelf: 9, slot, serial } } as const;
  return { ...volume(name), spec };
}

/** One node with room for one volume, and a watch that shows nothing new unless told to. */
export function cluster({ statusDelayMs = 0 } = {}) {
  const api = new FakeApi();
  const node: AoENode = { apiVersion: API_VERSION, kind: 'AoENode', metadata: { name: 'a' }, spec: { maintenance: false } };
  const pool: AoEPool = {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name: 'default' },
    spec: { backend: 'file', directory: '/d' },
    status: { nodes: [{ name: 'a', ready: true, size: '10Gi', granularity: '4Mi' }] },
  };
  api.put(node);
  api.put(pool);
  const volumes = api.lateStore<AoEVolume>('AoEVolume');
  const lists = { count: 0 };
  const catchUp = (): void => volumes.catchUp();
  const reconciler = new VolumeReconciler({
    copies: { at: () => undefined },
    kube: api,
    volumes: {
      get: (name) => volumes.get(name),
      list: () => {
        lists.count++;
        return volumes.list();
      },
    },
    ...indexesOf(() => volumes.list()),
    pools: api.store('AoEPool'),
    snapshots: api.store('AoESnapshot'),
    nodes: api.store('AoENode'),
    kubeNodes: api.store<KubeNode>('Node'),
    agents: { silence: () => undefined },
    events: api,
    range: new AddressRange('1'),
    statusDelayMs,
    log,
  });
  const live = (name: string) => api.read<AoEVolume>(AOE_VOLUMES, name);
  return {
    api,
    live,
    /** The watch shows all that has happened. */
    catchUp,
    /** How often all volumes were read. */
    lists,
    add: (...added: AoEVolume[]) => {
      for (const each of added) api.put(each);
      catchUp();
    },
    reconcile: (name: string) => reconciler.reconcile(name, signal),
    condition: (name: string, type: string) => live(name)?.status?.conditions?.find((each) => each.type === type),
    events: () => api.events.map(({ reason }) => reason),
  };
}
