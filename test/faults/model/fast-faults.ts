import { type Draw, type Faults, NODES, type NodeName, type Situation } from './plan.ts';
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

export const FAST_FAULTS: Faults<FastDisturbance> = {
  what,
  /** At any moment of a step that takes about a fifth of a second; mostly shorter than that, one of twelve longer. */
  timing: ({ next }) => ({
    after: Math.floor(next() * 120) / 1000,
    seconds: Math.floor(next() < 0.92 ? 5 + next() * 120 : 400 + next() * 1200) / 1000,
  }),
};
