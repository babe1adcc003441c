import { type AoEVolume, claimNameOf } from '../../../api/volume.ts';
import type { KubeObject } from '../../../kube/mod.ts';

/**
 * The PersistentVolumeClaim for which a volume was made, as far as an Event needs it; undefined when it was not made for one.
 * csi-provisioner names a volume after the UID of its claim.
 */
export function claimOf(volume: AoEVolume): KubeObject | undefined {
  const claim = claimNameOf(volume);
  if (!claim) return undefined;
  const [, uid] = /^pvc-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(volume.metadata.name) ?? [];
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { ...claim, ...(uid ? { uid } : {}) } };
}
