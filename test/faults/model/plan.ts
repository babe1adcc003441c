import { random } from './random.ts';

/** Nodes that can write. The data is on the first: it is never lost, only crashed and booted again. */
export const STORAGE = 'storage-1';
export const NODES = [STORAGE, 'storage-2', 'worker-1'] as const;
export type NodeName = (typeof NODES)[number];

/** How the volume goes from one node to another. */
export type Transition = Handover | Silence;

/** Somebody gives the volume to the other node. */
export type Handover =
  /** The pod is deleted, the next is made. */
  | { kind: 'move'; to: NodeName }
  /** Its node loses power. It boots again once the other has the volume. */
  | { kind: 'crash'; to: NodeName }
  /** The same, and the Node object is deleted. */
  | { kind: 'delete-node'; to: NodeName }
  /** Its node hangs, is given up, and goes on later with its writes under way: it does not know that it lost. */
  | { kind: 'hang'; to: NodeName }
  /** The same, but the node only lost Kubernetes: its writer never pauses. */
  | { kind: 'cut-off'; to: NodeName };

/** The operator decides by itself whether the node loses the volume. */
export type Silence =
  /** Its node hangs. Kubernetes and the targets do not hear it, so the operator takes the volume; it goes on later, as above. */
  | { kind: 'silent'; to: NodeName }
  /** The same, but it goes on after this time, perhaps before the operator has taken the volume. If it kept the volume, it is moved. */
  | { kind: 'wakes'; to: NodeName; seconds: number }
  /** Only Kubernetes does not hear it, for this time. It keeps the volume, which is moved afterwards. */
  | { kind: 'kubelet-silent'; to: NodeName; seconds: number };
export const SILENCES: readonly string[] = ['silent', 'wakes', 'kubelet-silent'] satisfies Silence['kind'][];

export function isSilence(transition: Transition | undefined): transition is Silence {
  return transition !== undefined && SILENCES.includes(transition.kind);
}

/** When a disturbance begins, in seconds after its step, and how long it lasts. */
export interface Timing {
  after: number;
  seconds: number;
}

/** A step of a lab whose disturbances are D. */
export interface Step<D> {
  disturbance?: Timing & { what: D };
  transition?: Transition;
}

/** Chance, as a seed determines it. */
export interface Draw {
  next: () => number;
  pick: <T>(list: readonly T[]) => T;
}

/** The situation in which a disturbance is drawn. */
export interface Situation {
  holder: NodeName;
  transition: Transition | undefined;
  /** One for disturbances of a single node; not the one that crashes or hangs in this step. */
  node: NodeName;
}

/** What can go wrong in a lab while writes go on. None of it may cost an error or a record. */
export interface Faults<D> {
  what: (draw: Draw, situation: Situation) => D;
  timing: (draw: Draw, situation: Situation) => Timing;
  /** Draws a silence of the holder, or none, where the lab has an operator that takes volumes over by itself. */
  silence?: (draw: Draw, to: NodeName) => Silence | undefined;
}

export interface PlanOptions<D> {
  seed: number;
  steps: number;
  /** The node that has the volume at first. */
  first: NodeName;
  faults: Faults<D>;
  /**
   * Steps with a disturbance of this kind alone, as in fifty crashes of the storage node; or with a silence of this kind, and a move where the
   * storage node has the volume.
   */
  only?: string | undefined;
}

/** The steps of a run: nothing but the arguments decides. */
export function plan<D extends { kind: string }>({ seed, steps, first, faults, only }: PlanOptions<D>): Step<D>[] {
  const draw = drawOf(seed);
  const { next, pick } = draw;
  let holder = first;
  const drawStep = (): Step<D> => {
    const step: Step<D> = {};
    const kind = next();
    if (kind < 0.65) {
      const to = pick(NODES.filter((node) => node !== holder));
      // A storage node that is lost takes the data along: nobody could go on.
      const ways = holder === STORAGE ? (['move'] as const) : (['move', 'crash', 'delete-node', 'hang', 'cut-off'] as const);
      const silence = holder === STORAGE ? undefined : faults.silence?.(draw, to);
      step.transition = silence ?? { kind: pick(ways), to };
    }
    if (kind > 0.4) {
      const { transition } = step;
      const lost = transition && transition.kind !== 'move' ? holder : undefined;
      const node = pick(NODES.filter((each) => each !== lost));
      const situation = { holder, transition, node };
      step.disturbance = { what: faults.what(draw, situation), ...faults.timing(draw, situation) };
    }
    return step;
  };
  const fits = ({ transition, disturbance }: Step<D>): boolean => {
    if (only === undefined) return true;
    if (!SILENCES.includes(only)) return !transition && disturbance?.what.kind === only;
    return transition?.kind === only || (holder === STORAGE && transition !== undefined);
  };
  return Array.from({ length: steps }, () => {
    let step = drawStep();
    while (!fits(step)) step = drawStep();
    holder = step.transition?.to ?? holder;
    return step;
  });
}

export function drawOf(seed: number): Draw {
  const next = random(seed);
  return { next, pick: <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T };
}

/** A step in a few words. */
export function describeStep({ transition, disturbance: fault }: Step<{ kind: string }>): string {
  const words: string[] = [];
  if (fault) {
    const { kind, ...rest } = fault.what;
    const when = fault.after > 0 ? ` after ${fault.after} s` : '';
    words.push(`${[kind, ...Object.values(rest)].join(' ')} for ${fault.seconds} s${when}`);
  }
  if (transition) {
    const time = 'seconds' in transition ? ` after ${transition.seconds} s` : '';
    words.push(`${transition.kind} to ${transition.to}${time}`);
  }
  return words.join(', and ');
}
