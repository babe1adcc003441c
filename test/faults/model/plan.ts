import { random } from './random.ts';

/** Nodes that can write. The data is on the first: it is never lost, only crashed and booted again. */
export const STORAGE = 'storage-1';
export const NODES = [STORAGE, 'storage-2', 'worker-1'] as const;
export type NodeName = (typeof NODES)[number];

/** How the volume goes from one node to another. */
export type Transition =
  /** The pod is deleted, the next is made. */
  | { kind: 'move'; to: NodeName }
  /** Its node stops, without a word: power failure. It boots again once the other has the volume. */
  | { kind: 'crash'; to: NodeName }
  /** The same, and the Node object is deleted. */
  | { kind: 'delete-node'; to: NodeName }
  /** Its node hangs, is given up, and goes on later with its writes under way: it does not know that it lost. */
  | { kind: 'hang'; to: NodeName }
  /** The same, but it only lost Kubernetes: its writer never pauses. */
  | { kind: 'cut-off'; to: NodeName };

/** What goes wrong for some seconds while writes go on. None of it may cost an error or a record. */
export type Disturbance =
  | { kind: 'kill'; part: 'target' | 'agent' | 'controller' | 'node' }
  | { kind: 'storage-link-down'; node: NodeName }
  | { kind: 'management-link-down'; node: NodeName }
  | { kind: 'both-links-down'; node: NodeName }
  | { kind: 'bad-link'; node: NodeName; how: 'loss' | 'delay' | 'duplicate' | 'reorder' }
  | { kind: 'api-server-away' }
  | { kind: 'clock-jump'; node: NodeName; seconds: number }
  | { kind: 'storage-crash' };

export interface Step {
  disturbance?: { what: Disturbance; seconds: number };
  transition?: Transition;
}

/**
 * The steps of a run: nothing but the arguments decides.
 * @param only steps with a disturbance of this kind alone, as in fifty crashes of the storage node
 */
export function plan(seed: number, steps: number, first: NodeName, only?: Disturbance['kind']): Step[] {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  let holder = first;
  const draw = (): Step => {
    const step: Step = {};
    const kind = next();
    if (kind < 0.65) {
      const to = pick(NODES.filter((node) => node !== holder));
      // A storage node that is lost takes the data along: nobody could go on.
      const ways = holder === STORAGE ? (['move'] as const) : (['move', 'crash', 'delete-node', 'hang', 'cut-off'] as const);
      step.transition = { kind: pick(ways), to };
    }
    if (kind > 0.4) step.disturbance = { what: disturbance(next, pick, step.transition, holder), seconds: lasting(next) };
    return step;
  };
  return Array.from({ length: steps }, () => {
    let step = draw();
    while (only !== undefined && (step.transition || step.disturbance?.what.kind !== only)) step = draw();
    holder = step.transition?.to ?? holder;
    return step;
  });
}

/** Mostly a blink; one of five outlasts leases and retries. */
function lasting(next: () => number): number {
  return next() < 0.8 ? 1 + Math.floor(next() * 5) : 12 + Math.floor(next() * 18);
}

function disturbance(
  next: () => number,
  pick: <T>(list: readonly T[]) => T,
  transition: Transition | undefined,
  holder: NodeName,
): Disturbance {
  // A node that crashes or hangs in this step is left alone otherwise.
  const lost = transition && transition.kind !== 'move' ? holder : undefined;
  const node = pick(NODES.filter((each) => each !== lost));
  const draws: (() => Disturbance)[] = [
    () => ({ kind: 'kill', part: pick(['target', 'agent', 'controller', 'node'] as const) }),
    () => ({ kind: 'storage-link-down', node }),
    () => ({ kind: 'management-link-down', node }),
    () => ({ kind: 'both-links-down', node }),
    () => ({ kind: 'bad-link', node, how: pick(['loss', 'delay', 'duplicate', 'reorder'] as const) }),
    () => ({ kind: 'api-server-away' }),
    () => ({ kind: 'clock-jump', node, seconds: Math.floor((next() - 0.5) * 7200) }),
  ];
  // A pod on the storage node ends with it: then somebody else must have the volume, and keep it.
  if (!transition && holder !== STORAGE) draws.push(() => ({ kind: 'storage-crash' }));
  return pick(draws)();
}

/** A step in a few words. */
export function describeStep({ transition, disturbance: fault }: Step): string {
  const words: string[] = [];
  if (fault) {
    const { kind, ...rest } = fault.what;
    words.push(`${[kind, ...Object.values(rest)].join(' ')} for ${fault.seconds} s`);
  }
  if (transition) words.push(`${transition.kind} to ${transition.to}`);
  return words.join(', and ');
}
