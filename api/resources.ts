import { GROUP, VERSION } from './meta.ts';

/** Names of a resource type in the API server's URLs and objects. */
export interface ResourceType {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const ours = (kind: string, plural: string): ResourceType => ({ group: GROUP, version: VERSION, plural, kind, namespaced: false });

export const AOE_VOLUMES = ours('AoEVolume', 'aoevolumes');
export const AOE_SNAPSHOTS = ours('AoESnapshot', 'aoesnapshots');
export const AOE_SNAPSHOT_GROUPS = ours('AoESnapshotGroup', 'aoesnapshotgroups');
export const AOE_POOLS = ours('AoEPool', 'aoepools');
export const AOE_NODES = ours('AoENode', 'aoenodes');
export const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false };
export const PERSISTENT_VOLUMES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumes',
  kind: 'PersistentVolume',
  namespaced: false,
};
export const PERSISTENT_VOLUME_CLAIMS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumeclaims',
  kind: 'PersistentVolumeClaim',
  namespaced: true,
};
export const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
export const VOLUME_ATTACHMENTS: ResourceType = {
  group: 'storage.k8s.io',
  version: 'v1',
  plural: 'volumeattachments',
  kind: 'VolumeAttachment',
  namespaced: false,
};
export const TOKEN_REVIEWS: ResourceType = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
};
export const API_VERSION = `${GROUP}/${VERSION}`;
