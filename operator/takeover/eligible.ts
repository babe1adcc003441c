/** What a pod mounts, as far as it matters here. */
export type PodVolume =
  /** An Exclusive AoEVolume of a target of ours. */
  | { readonly kind: 'ours'; readonly volume: string }
  /** Anything else that may be in use elsewhere, or cannot be cut off. */
  | { readonly kind: 'other'; readonly what: string };

/** A pod on the silent node, without volumes that vanish with it, such as emptyDir. */
export interface PodOnNode {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Why the pod is never deleted here, for people. */
  readonly kept?: string | undefined;
  readonly volumes: readonly PodVolume[];
}

export interface Eligible {
  readonly pods: readonly PodOnNode[];
  readonly volumes: readonly string[];
  /** Pods with a volume of ours that stay as they are, and why. */
  readonly left: readonly { readonly pod: PodOnNode; readonly why: string }[];
}

/**
 * Which pods can be deleted and which volumes can be taken together. A pod is deleted only if every persistent volume of it is among the
 * candidates; a volume is taken only if every pod of the node that uses it is deleted.
 * @param candidates names of Exclusive AoEVolumes of ours that may be taken
 * @param never says why a volume is never taken over, to follow "its AoEVolume NAME"; undefined for one that may be
 */
export function eligible(
  pods: readonly PodOnNode[],
  candidates: Iterable<string>,
  never: (volume: string) => string | undefined = () => undefined,
): Eligible {
  const volumes = new Set(candidates);
  const left = new Map<PodOnNode, string>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const pod of pods) {
      if (left.has(pod)) continue;
      const why = obstacle(pod, volumes, never);
      if (why === undefined) continue;
      changed = true;
      left.set(pod, why);
      for (const name of ours(pod)) volumes.delete(name);
    }
  }
  const isOurs = (pod: PodOnNode): boolean => ours(pod).length > 0;
  return {
    pods: pods.filter((pod) => !left.has(pod) && isOurs(pod)),
    volumes: [...volumes],
    left: [...left].filter(([pod]) => isOurs(pod)).map(([pod, why]) => ({ pod, why })),
  };
}

/** Of what is eligible, what hangs together with these volumes: pods that use them, and the other volumes of those pods. */
export function connected({ pods, volumes, left }: Eligible, start: Iterable<string>): Eligible {
  const reached = new Set(start);
  for (let before = -1; before !== reached.size; ) {
    before = reached.size;
    for (const pod of pods) if (ours(pod).some((name) => reached.has(name))) for (const name of ours(pod)) reached.add(name);
  }
  const touches = (pod: PodOnNode): boolean => ours(pod).some((name) => reached.has(name));
  return {
    pods: pods.filter(touches),
    volumes: volumes.filter((name) => reached.has(name)),
    left: left.filter(({ pod }) => touches(pod)),
  };
}

export function ours({ volumes }: PodOnNode): string[] {
  return volumes.flatMap((each) => (each.kind === 'ours' ? [each.volume] : []));
}

function obstacle(
  { kept, volumes }: PodOnNode,
  candidates: ReadonlySet<string>,
  never: (volume: string) => string | undefined,
): string | undefined {
  if (kept !== undefined) return kept;
  for (const each of volumes) {
    if (each.kind === 'other') return `it also uses ${each.what}`;
    if (candidates.has(each.volume)) continue;
    const why = never(each.volume) ?? 'cannot be taken over: its target gives no evidence, or another pod that stays uses it';
    return `its AoEVolume ${each.volume} ${why}`;
  }
  return undefined;
}
