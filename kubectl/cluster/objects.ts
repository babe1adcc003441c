// The objects of Kubernetes that are read here, as far as they are read.

import type { KubeNode } from '../../api/kube-node.ts';
import type { ObjectMeta } from '../../api/meta.ts';
import type { ResourceType } from '../../api/resources.ts';

export {
  AOE_NODES,
  AOE_POOLS,
  AOE_SNAPSHOT_GROUPS,
  AOE_SNAPSHOTS,
  AOE_VOLUMES,
  NODES,
  PERSISTENT_VOLUMES,
  type ResourceType,
  VOLUME_ATTACHMENTS,
} from '../../api/resources.ts';

const core = (kind: string, plural: string): ResourceType => ({ group: '', version: 'v1', plural, kind, namespaced: true });
export const PODS = core('Pod', 'pods');
export const CLAIMS = core('PersistentVolumeClaim', 'persistentvolumeclaims');
/** The older of the two kinds of Event: the API server gives all events in both. */
export const EVENTS = core('Event', 'events');
export const STORAGE_CLASSES: ResourceType = {
  group: 'storage.k8s.io',
  version: 'v1',
  plural: 'storageclasses',
  kind: 'StorageClass',
  namespaced: false,
};
export const CSI_NODES: ResourceType = { ...STORAGE_CLASSES, plural: 'csinodes', kind: 'CSINode' };
export const DEPLOYMENTS: ResourceType = { group: 'apps', version: 'v1', plural: 'deployments', kind: 'Deployment', namespaced: true };
export const DAEMON_SETS: ResourceType = { ...DEPLOYMENTS, plural: 'daemonsets', kind: 'DaemonSet' };

interface Kubernetes {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** A Node with what the kubelet says of its machine. */
export interface Machine extends KubeNode {
  readonly status?: KubeNode['status'] & { readonly nodeInfo?: { readonly kernelVersion?: string; readonly architecture?: string } };
}

export interface PersistentVolume extends Kubernetes {
  readonly spec: {
    readonly csi?: { readonly driver: string; readonly volumeHandle: string };
    readonly claimRef?: { readonly namespace?: string; readonly name?: string; readonly uid?: string };
  };
  readonly status?: { readonly phase?: string };
}

export interface Claim extends Kubernetes {
  readonly spec: {
    readonly volumeName?: string;
    readonly storageClassName?: string;
    readonly volumeMode?: string;
    readonly resources?: { readonly requests?: { readonly storage?: string } };
  };
  readonly status?: { readonly phase?: string; readonly capacity?: { readonly storage?: string } };
}

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string };
  };
}

export interface Pod extends Kubernetes {
  readonly spec: {
    readonly nodeName?: string;
    readonly affinity?: {
      readonly nodeAffinity?: {
        readonly requiredDuringSchedulingIgnoredDuringExecution?: {
          readonly nodeSelectorTerms: readonly {
            readonly matchFields?: readonly { readonly key: string; readonly values: readonly string[] }[];
          }[];
        };
      };
    };
    readonly containers?: readonly { readonly name: string }[];
    readonly initContainers?: readonly { readonly name: string }[];
    readonly volumes?: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
      readonly ephemeral?: object;
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface Attachment extends Kubernetes {
  readonly spec: { readonly attacher: string; readonly nodeName: string; readonly source: { readonly persistentVolumeName?: string } };
  readonly status?: {
    readonly attached?: boolean;
    readonly attachError?: { readonly message?: string };
    readonly detachError?: { readonly message?: string };
  };
}

export interface Event extends Kubernetes {
  readonly involvedObject: { readonly kind?: string; readonly namespace?: string; readonly name?: string; readonly uid?: string };
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly eventTime?: string | null;
  readonly firstTimestamp?: string | null;
  readonly lastTimestamp?: string | null;
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string };
}

export interface StorageClass extends Kubernetes {
  readonly provisioner: string;
}

/** When an event happened last, as text of RFC 3339; empty when it does not say. */
export function eventTime({ series, lastTimestamp, eventTime: at, firstTimestamp, metadata }: Event): string {
  return series?.lastObservedTime ?? (lastTimestamp || at || firstTimestamp || metadata.creationTimestamp) ?? '';
}

/** The names of the claims of a pod's volumes. */
export function claimsOf({ metadata, spec }: Pod): string[] {
  return (spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [persistentVolumeClaim.claimName];
    // The claim of a generic ephemeral volume is named after both (k8s.io/component-helpers/storage/ephemeral).
    return ephemeral ? [`${metadata.name}-${name}`] : [];
  });
}
