import { type Draw, type Faults, isSilence, NODES, type NodeName, type Silence, type Situation } from './plan.ts';
import type { How } from './weather.ts';

/** Programs that are killed; a part that nobody needs for a while is started again all the same. */
export const PROGRAMS = ['target', 'agent', 'controller', 'operator'] as const;
export type Program = (typeof PROGRAMS)[number];
/** Those that talk to the API server, each over a line of its own. */
export const CLIENTS = ['agent', 'controller', 'operator'] as const;
export type Client = (typeof CLIENTS)[number];

/** What goes wrong for a fraction of a second, or a few, in the lab of processes. */
export type FastDisturbance =
  /** SIGKILL; it is started again at the end. */
  | { kind: 'kill'; part: Program }
  /** SIGKILL to the API server, and a new one at the end; etcd goes on. */
  | { kind: 'api-server-restart' }
  /** SIGSTOP, and SIGCONT at the end: it then goes on with what it believed before. */
  | { kind: 'stop'; part: Program | 'api-server' | 'etcd' }
  /** Connections to the API server: broken once, silent, or refused. */
  | { kind: 'api-line'; part: Client; how: 'cut' | 'silent' | 'refusing' }
  /** The node's cable on the AoE segment is pulled. */
  | { kind: 'link-down'; node: NodeName }
  | { kind: 'bad-link'; node: NodeName; how: How };

function what({ next, pick }: Draw, { holder }: Situation): FastDisturbance {
  // Mostly the node with frames under way. It may be about to lose the volume, so that they arrive after it has lost it.
  const node = next() < 0.6 ? holder : pick(NODES);
  const kind = next();
  if (kind < 0.45) {
    const how = pick(['loss', 'delay', 'late', 'duplicate', 'reorder', 'replies-lost', 'replies-late'] as const);
    return { kind: 'bad-link', node, how };
  }
  if (kind < 0.55) return { kind: 'link-down', node };
  if (kind < 0.75) return { kind: 'kill', part: next() < 0.5 ? 'target' : pick(CLIENTS) };
  // Starting it takes seconds.
  if (kind < 0.755) return { kind: 'api-server-restart' };
  if (kind < 0.88) return { kind: 'stop', part: pick([...PROGRAMS, 'api-server', 'etcd'] as const) };
  return { kind: 'api-line', part: pick(CLIENTS), how: pick(['cut', 'silent', 'refusing'] as const) };
}

/** One move of so many is a silence: it takes as long as two hundred other steps. */
const SILENCE_SHARE = 1 / 25;
/** The shortest silence after which the operator takes a volume: `spec.takeoverAfter`, and 10 s for the second verdict. */
export const TAKEOVER_SECONDS = 30;

function silence({ next, pick }: Draw, to: NodeName): Silence | undefined {
  if (next() >= SILENCE_SHARE) return undefined;
  const between = (from: number, until: number): number => Math.floor((from + next() * (until - from)) * 10) / 10;
  return pick<() => Silence>([
    () => ({ kind: 'silent', to }),
    // The operator needs a second or two more than it must.
    () => ({ kind: 'wakes', to, seconds: between(TAKEOVER_SECONDS - 10, TAKEOVER_SECONDS + 8) }),
    // Without the word of the targets, the volume would be gone after 20 s.
    () => ({ kind: 'kubelet-silent', to, seconds: between(24, 30) }),
  ])();
}

export const FAST_FAULTS: Faults<FastDisturbance> = {
  what,
  silence,
  /**
   * At any moment of a step, which takes about a fifth of a second, or half a minute when a node is silent; mostly shorter than the former. One
   * of twelve is longer, and all are while a node is silent.
   */
  timing: ({ next }, { transition }) => ({
    after: Math.floor(next() * (isSilence(transition) ? TAKEOVER_SECONDS * 1000 : 120)) / 1000,
    seconds: Math.floor(next() < 0.92 && !isSilence(transition) ? 5 + next() * 120 : 400 + next() * 1200) / 1000,
  }),
};
