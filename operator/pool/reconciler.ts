import { isDeepStrictEqual } from 'node:util';
import { poolTotals } from '../../api/capacity.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoEPool, PoolCondition, type PoolNode } from '../../api/pool.ts';
import { AOE_POOLS, API_VERSION } from '../../api/resources.ts';
import { type Informer, isConflict, isNotFound, type Kube, type NextCondition, setCondition } from '../../kube/mod.ts';
import type { AgentWatch } from '../node/agent-liveness.ts';
import { FIELD_MANAGER } from '../volume/status.ts';

/** Nothing tells of an agent that falls silent. */
const LOOK_EVERY_MS = 60_000;

interface Options {
  readonly kube: Pick<Kube, 'patch' | 'apply'>;
  readonly pools: Pick<Informer<AoEPool>, 'get'>;
  readonly nodes: Pick<Informer<AoENode>, 'get'>;
  readonly agents: Pick<AgentWatch, 'silent' | 'limitMs'>;
}

/**
 * Takes entries of nodes that are gone out of a pool's status (nobody else would, since each agent writes only its own), and sums
 * up the others: totals, and the condition Ready. What a node said whose agent is silent counts for nothing.
 */
export async function reconcilePool(
  { kube, pools, nodes, agents }: Options,
  name: string,
  signal: AbortSignal,
): Promise<{ requeueAfterMs: number } | undefined> {
  const pool = pools.get(name);
  if (!pool || pool.metadata.deletionTimestamp) return undefined;
  const { nodes: entries = [], readyNodes, size, free, conditions } = pool.status ?? {};
  const present = entries.filter((entry) => nodes.get(entry.name));
  const believed = present.map((entry) => believe(entry, agents.silent(nodes.get(entry.name))));
  const ready = setCondition(conditions, { ...judge(believed), observedGeneration: pool.metadata.generation });
  const summary = { ...poolTotals(believed), conditions: [ready] };
  const before = { readyNodes, size, free, conditions: conditions?.filter(({ type }) => type === PoolCondition.Ready) };
  try {
    if (present.length !== entries.length) {
      const { resourceVersion } = pool.metadata;
      await kube.patch(AOE_POOLS, name, { metadata: { resourceVersion }, status: { nodes: present } }, { subresource: 'status', signal });
    }
    if (!isDeepStrictEqual(summary, before)) {
      const object = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name }, status: summary };
      await kube.apply(AOE_POOLS, object, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
    }
  } catch (error) {
    // Changed or gone meanwhile: the watch will tell.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
  return { requeueAfterMs: Math.min(LOOK_EVERY_MS, agents.limitMs) };
}

function believe(entry: PoolNode, silent: string | undefined): PoolNode {
  return silent === undefined ? entry : { ...entry, ready: false, message: silent };
}

/** Whether anything can be made in the pool, and what is wrong on any of its nodes. */
function judge(entries: readonly PoolNode[]): NextCondition {
  const type = PoolCondition.Ready;
  if (entries.length === 0) {
    const message = 'no storage node has reported it: is one labelled aoe.dev/storage=true, and does nodeSelector match it?';
    return { type, status: 'False', reason: 'NoNode', message };
  }
  const wrong = entries.flatMap(({ name, message }) => (message === undefined ? [] : [`${name}: ${message}`])).join('; ');
  const ready = entries.filter((entry) => entry.ready).map(({ name }) => name);
  if (ready.length === 0) return { type, status: 'False', reason: 'NotReady', message: wrong };
  if (wrong) return { type, status: 'True', reason: 'NeedsAttention', message: wrong };
  return { type, status: 'True', reason: 'Ready', message: `can be used on ${ready.sort().join(', ')}` };
}
