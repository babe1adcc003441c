import { type Draw, type Faults, type NodeName, type Situation, STORAGE } from './plan.ts';

/** What goes wrong for some seconds on the cluster of guests. */
export type Disturbance =
  | { kind: 'kill'; part: 'target' | 'agent' | 'controller' | 'node' }
  | { kind: 'storage-link-down'; node: NodeName }
  | { kind: 'management-link-down'; node: NodeName }
  | { kind: 'both-links-down'; node: NodeName }
  | { kind: 'bad-link'; node: NodeName; how: 'loss' | 'delay' | 'duplicate' | 'reorder' }
  | { kind: 'api-server-away' }
  | { kind: 'clock-jump'; node: NodeName; seconds: number }
  | { kind: 'storage-crash' };

function what({ next, pick }: Draw, { transition, holder, node }: Situation): Disturbance {
  const draws: (() => Disturbance)[] = [
    () => ({ kind: 'kill', part: pick(['target', 'agent', 'controller', 'node'] as const) }),
    () => ({ kind: 'storage-link-down', node }),
    () => ({ kind: 'management-link-down', node }),
    () => ({ kind: 'both-links-down', node }),
    () => ({ kind: 'bad-link', node, how: pick(['loss', 'delay', 'duplicate', 'reorder'] as const) }),
    () => ({ kind: 'api-server-away' }),
    () => ({ kind: 'clock-jump', node, seconds: Math.floor((next() - 0.5) * 7200) }),
  ];
  // A pod on the storage node ends with the node: another node must have the volume then, and keep it.
  if (!transition && holder !== STORAGE) draws.push(() => ({ kind: 'storage-crash' }));
  return pick(draws)();
}

export const CLUSTER_FAULTS: Faults<Disturbance> = {
  what,
  /** Mostly a blink; one of five outlasts leases and retries. */
  timing: ({ next }) => ({ after: 0, seconds: next() < 0.8 ? 1 + Math.floor(next() * 5) : 12 + Math.floor(next() * 18) }),
};
