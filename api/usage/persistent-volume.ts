import { DRIVER_NAME, type ObjectMeta } from '../meta.ts';
import { PERSISTENT_VOLUMES, type ResourceType } from '../resources.ts';

interface PersistentVolume {
  metadata: ObjectMeta;
  spec?: { csi?: { driver: string; volumeHandle: string } };
}

interface Options {
  readonly signal: AbortSignal;
}

/** The API server, as far as it is asked here. */
interface Reader {
  get<T extends PersistentVolume>(type: ResourceType, name: string, options: Options): Promise<T | undefined>;
  list<T extends PersistentVolume>(type: ResourceType, options: Options): Promise<{ items: T[] }>;
}

/**
 * The name of a PersistentVolume that names this AoEVolume, whatever its phase; undefined when none does. That of a claim has the
 * AoEVolume's own name, so it is asked for first; a list of all is needed only for those made by hand.
 * @throws KubeError
 */
export async function persistentVolumeOf(
  reader: Reader,
  { metadata: { name } }: { readonly metadata: ObjectMeta },
  signal: AbortSignal,
): Promise<string | undefined> {
  const isOurs = ({ spec }: PersistentVolume): boolean => spec?.csi?.driver === DRIVER_NAME && spec.csi.volumeHandle === name;
  const namesake = await reader.get(PERSISTENT_VOLUMES, name, { signal });
  if (namesake && isOurs(namesake)) return name;
  const { items } = await reader.list(PERSISTENT_VOLUMES, { signal });
  return items.find(isOurs)?.metadata.name;
}
