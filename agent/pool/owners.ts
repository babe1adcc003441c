import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube } from '../../kube/mod.ts';
import type { BackingVolume } from '../backends/backend.ts';

/** Backing volumes that no AoEVolume of this node names. */
export interface Unowned {
  /** No AoEVolume of the cluster names them. */
  orphans: BackingVolume[];
  /** An AoEVolume of another node names them, for example because the disks were moved here. */
  displaced: { backing: BackingVolume; owner: AoEVolume }[];
}

/**
 * Asks the API server to whom the candidates for orphans belong: the metadata of all AoEVolumes, once, and then the AoEVolumes that
 * own a candidate.
 * @param candidates backing volumes that no AoEVolume of this node names; without any, nothing is asked
 * @param node name of this node; a candidate that has an AoEVolume there after all is neither an orphan nor displaced
 * @throws KubeError
 */
export async function findOwners(
  kube: Pick<Kube, 'get' | 'listMetadata'>,
  candidates: readonly BackingVolume[],
  node: string,
  signal: AbortSignal,
): Promise<Unowned> {
  const found: Unowned = { orphans: [], displaced: [] };
  if (candidates.length === 0) return found;
  const names = new Map((await kube.listMetadata(AOE_VOLUMES, { signal })).map(({ metadata: { uid = '', name } }) => [uid, name]));
  for (const backing of candidates) {
    const name = names.get(backing.uid);
    if (name === undefined) {
      found.orphans.push(backing);
      continue;
    }
    const owner = await kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
    // One that was deleted meanwhile is an orphan at the next check.
    if (owner?.metadata.uid === backing.uid && owner.spec.nodeName !== node) found.displaced.push({ backing, owner });
  }
  return found;
}
