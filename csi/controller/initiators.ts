import { type AoEVolume, isUnserved } from '../../api/volume.ts';
import { changeSpec } from './change-spec.ts';
import type { Call, Deps } from './deps.ts';
import { waitFor } from './wait.ts';

/**
 * Writes the nodes that `decide` gives into the volume's spec. When the volume has changed since it was read, it decides again.
 * @throws RpcError NOT_FOUND when the volume was deleted, ABORTED when others keep changing it; and what `decide` throws
 */
export function changeInitiators(deps: Deps, first: AoEVolume, decide: (volume: AoEVolume) => string[], call: Call): Promise<AoEVolume> {
  const change = (volume: AoEVolume): object | undefined => {
    const before = volume.spec.initiators.nodes ?? [];
    const nodes = decide(volume);
    if (nodes.length === before.length && nodes.every((node, i) => node === before[i])) return undefined;
    return { initiators: { nodes: nodes.length > 0 ? nodes : null } };
  };
  return changeSpec(deps, first, change, call);
}

/**
 * Waits until the agent reports, for this generation or a later one, that the target admits the right nodes.
 * @param wanted what agent and target have to do, as in "to admit node a"
 */
export function waitForInitiators(
  deps: Deps,
  volume: AoEVolume,
  { wanted, isDone }: { wanted: string; isDone: (nodes: readonly string[]) => boolean },
  call: Call,
): Promise<AoEVolume> {
  const { generation = 0 } = volume.metadata;
  const until = (now: AoEVolume): AoEVolume | undefined => {
    const { observedGeneration = -1, nodes = [] } = now.status?.initiators ?? {};
    if (observedGeneration >= generation && isDone(nodes)) return now;
    // A volume in trouble must not delay a detach.
    return isUnserved(now, generation) && isDone([]) ? now : undefined;
  };
  return waitFor(deps, volume, { what: `agent and target on ${volume.spec.nodeName ?? 'its storage node'} ${wanted}`, until }, call);
}
