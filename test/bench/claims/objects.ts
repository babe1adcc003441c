import type { ResourceType } from '../../../api/resources.ts';
import type { KubeObject } from '../../../kube/mod.ts';
import { PAUSE_IMAGE } from '../../testbed/kit.ts';

const core = (kind: string, plural: string, namespaced = true): ResourceType => ({ group: '', version: 'v1', kind, plural, namespaced });
export const CLAIMS = core('PersistentVolumeClaim', 'persistentvolumeclaims');
export const PODS = core('Pod', 'pods');
export const VOLUMES = core('PersistentVolume', 'persistentvolumes', false);

export interface Claim extends KubeObject {
  status?: { phase?: string };
}
export interface Pod extends KubeObject {
  spec?: { nodeName?: string };
  status?: {
    conditions?: { type: string; status: string }[];
    containerStatuses?: { name: string; containerID?: string; restartCount: number }[];
  };
}
export interface Volume extends KubeObject {
  spec?: { claimRef?: { name?: string } };
}

/**
 * A claim of 64 MiB.
 * @param node what the scheduler would write for the pod that uses the claim: volumes are made for the first consumer
 */
export function claim(name: string, storageClass: string, node?: string): KubeObject {
  const annotations = node === undefined ? {} : { annotations: { 'volume.kubernetes.io/selected-node': node } };
  const spec = { accessModes: ['ReadWriteOnce'], storageClassName: storageClass, resources: { requests: { storage: '64Mi' } } };
  return { metadata: { name, ...annotations }, spec } as KubeObject;
}

/** A pod that sleeps, with the claim of its own name when `withClaim`. */
export function pod(name: string, withClaim: boolean): KubeObject {
  const container = {
    name: 'pause',
    image: PAUSE_IMAGE,
    imagePullPolicy: 'Never',
    ...(withClaim ? { volumeMounts: [{ name: 'data', mountPath: '/data' }] } : {}),
  };
  const spec = {
    terminationGracePeriodSeconds: 1,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    containers: [container],
    ...(withClaim ? { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: name } }] } : {}),
  };
  return { metadata: { name }, spec } as KubeObject;
}
