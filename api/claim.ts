import type { AoEVolume } from './volume.ts';

/** Annotation with namespace and name of the PersistentVolumeClaim for which a volume was made: `NAMESPACE/NAME`. The CSI controller sets it. */
export const CLAIM = 'aoe.dev/claim';

/** The claim for which a volume was made; undefined when it was not made for one. */
export function claimNameOf({ metadata }: Pick<AoEVolume, 'metadata'>): { namespace: string; name: string } | undefined {
  const [namespace, name] = metadata.annotations?.[CLAIM]?.split('/') ?? [];
  return namespace && name ? { namespace, name } : undefined;
}
