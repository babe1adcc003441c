import { DRIVER_NAME } from '../../api/meta.ts';
import { PERSISTENT_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, KubeObject } from '../../kube/mod.ts';

interface PersistentVolume extends KubeObject {
  spec?: { csi?: { driver: string; volumeHandle: string } };
}

/**
 * The name of a PersistentVolume that names this AoEVolume, whatever its phase; undefined when none does. That of a claim has the
 * AoEVolume's own name, so it is asked for first; a list of all is needed only for those made by hand.
 * @throws KubeError
 */
export async function persistentVolumeOf(
  kube: Pick<Kube, 'get' | 'list'>,
  { metadata: { name } }: AoEVolume,
  signal: AbortSignal,
): Promise<string | undefined> {
  const isOurs = ({ spec }: PersistentVolume): boolean => spec?.csi?.driver === DRIVER_NAME && spec.csi.volumeHandle === name;
  const namesake = await kube.get<PersistentVolume>(PERSISTENT_VOLUMES, name, { signal });
  if (namesake && isOurs(namesake)) return name;
  const { items } = await kube.list<PersistentVolume>(PERSISTENT_VOLUMES, { signal });
  return items.find(isOurs)?.metadata.name;
}
