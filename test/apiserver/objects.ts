import type { AoEPool, PoolNode } from '../../api/pool.ts';
import {
  AOE_NODES,
  AOE_POOLS,
  AOE_SNAPSHOT_GROUPS,
  AOE_SNAPSHOTS,
  AOE_VOLUMES,
  API_VERSION,
  type ResourceType,
} from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeSpec } from '../../api/volume.ts';
import type { Kube } from '../../kube/mod.ts';

export function volume(name: string, spec: Partial<AoEVolumeSpec> = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: AOE_VOLUMES.kind,
    metadata: { name },
    spec: { capacity: '1Gi', pool: 'default', access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
  };
}

/** A node as its node plugin announces it. */
export async function announceNode(kube: Kube, name: string, segment = 'default'): Promise<void> {
  const object = { apiVersion: API_VERSION, kind: AOE_NODES.kind, metadata: { name } };
  const fieldManager = 'aoe-csi-node';
  await kube.apply(AOE_NODES, { ...object, spec: {} } as never, { fieldManager, force: true });
  await kube.apply(AOE_NODES, { ...object, status: { segment } } as never, { fieldManager, force: true, subresource: 'status' });
}

export async function makePool(kube: Kube, name: string): Promise<void> {
  const pool = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, spec: { backend: 'file', directory: '/d' } };
  await kube.create(AOE_POOLS, pool as AoEPool);
}

/** What a node's agent says of a pool there. */
export async function reportPool(kube: Kube, name: string, node: PoolNode): Promise<void> {
  const object = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, status: { nodes: [node] } };
  await kube.apply(AOE_POOLS, object as never, { fieldManager: `aoe-csi-agent-${node.name}`, force: true, subresource: 'status' });
}

const OUR_TYPES = [AOE_VOLUMES, AOE_SNAPSHOTS, AOE_SNAPSHOT_GROUPS, AOE_POOLS, AOE_NODES];

/** When the tests of this `describe` are over: deletes all objects of our CRDs, without what finalizers wait for. */
export function cleanAfter(kube: () => Kube): void {
  const clean = async (type: ResourceType): Promise<void> => {
    for (;;) {
      const objects = await kube().listMetadata(type);
      if (objects.length === 0) return;
      for (const { metadata } of objects) {
        if (metadata.finalizers?.length) await kube().patch(type, metadata.name, { metadata: { finalizers: null } });
        await kube().delete(type, metadata.name);
      }
    }
  };
  afterAll(() => Promise.all(OUR_TYPES.map(clean)));
}
