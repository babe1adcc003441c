import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { API_VERSION } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import {
  AOE_NODES,
  AOE_POOLS,
  AOE_VOLUMES,
  CLAIMS,
  type Machine,
  NODES,
  PERSISTENT_VOLUMES,
  PODS,
  type Pod,
  VOLUME_ATTACHMENTS,
} from '../cluster/objects.ts';
import { FakeKubectl } from './fake-kubectl.ts';

/** The time of all tests. */
export const NOW = Date.parse('2026-11-28T12:00:00Z');
const EARLIER = '2026-11-28T11:00:00Z';

export function condition(type: string, status: 'True' | 'False' | 'Unknown', reason: string, message: string) {
  return { type, status, reason, message, lastTransitionTime: EARLIER };
}

/** A volume that is well: exported by storage-1, with its lock at worker-1. */
export function volume(name: string, change: { metadata?: object; spec?: object; status?: object } = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name, uid: `uid-${name}`, ...change.metadata },
    spec: {
      capacity: '1Gi',
      pool: 'lvm',
      access: 'Exclusive',
      nodeName: 'storage-1',
      address: { shelf: 7, slot: 3 },
      initiators: { nodes: ['worker-1'] },
      deletionPolicy: 'Delete',
      ...change.spec,
    },
    status: {
      phase: 'Ready',
      address: 'e7.3',
      capacity: '1Gi',
      serial: 'abc',
      paths: [{ interface: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 }],
      initiators: { observedGeneration: 1, nodes: ['worker-1'], macs: ['02:00:00:00:00:11'] },
      holder: {
        name: 'worker-1',
        node: 'worker-1',
        since: EARLIER,
        raw: `aoe.dev/1 node=worker-1 uid=u volume=uid-${name} since=${EARLIER}`,
      },
      conditions: [
        condition('Placed', 'True', 'Placed', 'on storage-1 at e7.3'),
        condition('Provisioned', 'True', 'Provisioned', `logical volume vg0/aoe-uid-${name}`),
        condition('Exported', 'True', 'Exported', 'served at e7.3'),
        condition('AddressConflict', 'False', 'NoAnswer', 'no other target answers'),
        condition('Locked', 'True', 'Held', `held by node worker-1 since ${EARLIER}`),
        condition('Ready', 'True', 'Exported', 'exported by storage-1'),
      ],
      ...change.status,
    },
  } as AoEVolume;
}

export function aoeNode(name: string, { storage = false, status = {} }: { storage?: boolean; status?: object } = {}): AoENode {
  const last = name.at(-1) ?? '0';
  return {
    apiVersion: API_VERSION,
    kind: 'AoENode',
    metadata: { name },
    spec: { maintenance: false },
    status: {
      segment: 'default',
      interfaces: [{ name: 'eth1', mac: `02:00:00:00:00:${storage ? '0' : '1'}${last}`, mtu: 9000 }],
      ...(storage ? { targets: 1, agentSeen: '2026-11-28T11:59:30Z' } : {}),
      conditions: [
        condition('InitiatorReady', 'True', 'DriverLoaded', "the kernel's aoe driver uses eth1"),
        ...(storage ? [condition('TargetReady', 'True', 'Serving', 'serves on eth1')] : []),
      ],
      ...status,
    },
  };
}

export function machine(name: string, { ready = true, kernel = '6.16.3' } = {}): Machine {
  const last = { type: 'Ready', status: ready ? 'True' : 'Unknown', lastTransitionTime: EARLIER };
  return { metadata: { name }, status: { conditions: [last], nodeInfo: { kernelVersion: kernel } } };
}

export function pool(
  name: string,
  nodes: readonly object[] = [],
  ready = condition('Ready', 'True', 'Ready', 'ready on storage-1'),
): AoEPool {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name },
    spec: { backend: 'lvm', volumeGroup: 'vg0' },
    status: { readyNodes: 1, size: '10Gi', free: '9Gi', conditions: [ready], nodes },
  } as AoEPool;
}

export function persistentVolume(volumeName: string, claim: string, namespace = 'shop') {
  return {
    metadata: { name: volumeName },
    spec: { csi: { driver: 'aoe.dev', volumeHandle: volumeName }, claimRef: { namespace, name: claim } },
    status: { phase: 'Bound' },
  };
}

export function claim(name: string, volumeName: string | undefined, namespace = 'shop') {
  const spec = { storageClassName: 'aoe', ...(volumeName === undefined ? {} : { volumeName }) };
  return { metadata: { name, namespace, uid: `uid-${name}` }, spec, status: { phase: volumeName === undefined ? 'Pending' : 'Bound' } };
}

export function attachment(volumeName: string, node: string) {
  const spec = { attacher: 'aoe.dev', nodeName: node, source: { persistentVolumeName: volumeName } };
  return { metadata: { name: `csi-${volumeName}-${node}` }, spec, status: { attached: true } };
}

/** A pod that is Ready. */
export function pod(name: string, { namespace = 'shop', node = 'worker-1', claims = [] as string[], component = '' } = {}): Pod {
  return {
    metadata: {
      name,
      namespace,
      uid: `uid-${name}`,
      ...(component === '' ? {} : { labels: { 'app.kubernetes.io/name': 'aoe-csi', 'app.kubernetes.io/component': component } }),
    },
    spec: {
      nodeName: node,
      containers: [{ name: component === 'node' ? 'csi-node' : component || 'main' }],
      volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  };
}

/** worker-1, and storage-1 with the pool lvm and the release's pods; all well. Volume pvc-1 is claim shop/data, which pod shop/web uses. */
export function smallCluster(): FakeKubectl {
  return new FakeKubectl()
    .put(AOE_VOLUMES, volume('pvc-1'))
    .put(AOE_NODES, aoeNode('storage-1', { storage: true }), aoeNode('worker-1'))
    .put(AOE_POOLS, pool('lvm', [{ name: 'storage-1', ready: true, size: '10Gi', free: '9Gi', volumes: 1 }]))
    .put(NODES, machine('storage-1'), machine('worker-1'))
    .put(PERSISTENT_VOLUMES, persistentVolume('pvc-1', 'data'))
    .put(CLAIMS, claim('data', 'pvc-1'))
    .put(VOLUME_ATTACHMENTS, attachment('pvc-1', 'worker-1'))
    .put(
      PODS,
      pod('web', { claims: ['data'] }),
      pod('aoe-csi-controller-1', { namespace: 'aoe-csi', component: 'controller' }),
      pod('aoe-csi-node-w', { namespace: 'aoe-csi', component: 'node' }),
      pod('aoe-csi-node-s', { namespace: 'aoe-csi', node: 'storage-1', component: 'node' }),
      pod('aoe-csi-agent-s', { namespace: 'aoe-csi', node: 'storage-1', component: 'agent' }),
      pod('aoe-csi-target-s', { namespace: 'aoe-csi', node: 'storage-1', component: 'target' }),
    );
}
