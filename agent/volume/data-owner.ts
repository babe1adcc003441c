import { AOE_VOLUMES } from '../../api/resources.ts';
import type { Kube } from '../../kube/mod.ts';
import { BackendError, type OwnerOf } from '../backends/backend.ts';
import type { TargetConnection } from '../target/connection.ts';

/**
 * Finds out whose data something is that carries our mark, and is to be adopted.
 * @returns name of the AoEVolume with a UID, on whatever node; undefined when the cluster has none, and the target does not serve its data any more
 * @throws BackendError AdoptionInUse while the target serves it, or may: a host may still be writing; KubeError
 */
export function dataOwner(
  kube: Pick<Kube, 'listMetadata'>,
  target: Pick<TargetConnection, 'connected' | 'problem' | 'state'>,
  signal: AbortSignal,
): OwnerOf {
  return async (uid) => {
    const volumes = await kube.listMetadata(AOE_VOLUMES, { signal });
    const owner = volumes.find(({ metadata }) => metadata.uid === uid)?.metadata.name;
    if (owner !== undefined) return owner;
    if (!target.connected) {
      const message = `the target process does not answer (${target.problem}), so it is not known whether it still serves the data of AoEVolume ${uid}: it was not adopted`;
      throw new BackendError('AdoptionInUse', message);
    }
    if (target.state(uid)) {
      const message = `the target of this node still serves the data of AoEVolume ${uid}, which does not exist any more: it was not adopted. That ends within two minutes`;
      throw new BackendError('AdoptionInUse', message);
    }
    return undefined;
  };
}
