import type { AoEVolume } from '../../../api/volume.ts';
import type { KubeObject } from '../../../kube/mod.ts';

/** Set by the CSI controller: namespace and name of the claim. */
const CLAIM = 'aoe.dev/claim';

/**
 * The PersistentVolumeClaim for which a volume was made, as far as an Event needs it; undefined when it was not made for one.
 * csi-provisioner names a volume after the UID of its claim.
 */
export function claimOf({ metadata: { name: volume, annotations } }: AoEVolume): KubeObject | undefined {
  const [namespace, name] = annotations?.[CLAIM]?.split('/') ?? [];
  if (!namespace || !name) return undefined;
  const [, uid] = /^pvc-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(volume) ?? [];
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { namespace, name, ...(uid ? { uid } : {}) } };
}
