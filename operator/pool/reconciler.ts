import type { AgentLiveness } from '../../api/agent-liveness.ts';
import { poolTotals } from '../../api/capacity.ts';
import { notSelected } from '../../api/eligibility.ts';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoEPool, PoolCondition, type PoolNode } from '../../api/pool.ts';
import { AOE_POOLS } from '../../api/resources.ts';
import { applyStatus, isConflict, isNotFound, type Kube, type NextCondition, type Store } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { listed } from '../listed.ts';

/** An agent withdraws abandoned exports within seconds of its node's return, so the entry is not needed after an hour. */
const FORGET_ABANDONED_MS = 60 * 60_000;

/** No watch shows that an agent has fallen silent: poll for it. */
const POLL_MS = 60_000;

interface Options {
  readonly kube: Pick<Kube, 'get' | 'patch' | 'apply'>;
  readonly pools: Pick<Store<AoEPool>, 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly agents: Pick<AgentLiveness, 'silence' | 'limitMs'>;
  readonly now?: () => number;
}

/**
 * Removes entries of nodes that are gone from a pool's status (each agent writes only its own entry), and those of abandoned volumes
 * whose node is back; and sums up the others: totals, and condition Ready. What a silent agent reported last does not count, nor what one says
 * whose node the pool does not select.
 */
export async function reconcilePool(
  { kube, pools, nodes, kubeNodes, agents, now = Date.now }: Options,
  name: string,
  signal: AbortSignal,
): Promise<{ requeueAfterMs: number } | undefined> {
  const pool = pools.get(name);
  if (!pool || pool.metadata.deletionTimestamp) return undefined;
  const entries = (pool.status?.nodes ?? []).map((entry) => ({ entry, node: nodes.get(entry.name) }));
  const present = entries.flatMap(({ entry, node }) => (node ? [{ entry, node }] : []));
  const { abandoned = [] } = pool.status ?? {};
  const isBack = (node: AoENode | undefined): boolean =>
    node?.status?.agentSeen !== undefined &&
    agents.silence(node) === undefined &&
    // Its object may have been there all along: a silence is known only some minutes after the start of this operator.
    notReady(kubeNodes.get(node.metadata.name)) === undefined &&
    now() - Date.parse(node.metadata.creationTimestamp ?? '') > FORGET_ABANDONED_MS;
  const remembered = abandoned.filter(({ node }) => !isBack(nodes.get(node)));
  const objectionTo = (node: AoENode): string | undefined =>
    notSelected(pool, node.metadata.name, kubeNodes.get(node.metadata.name)?.metadata.labels) ?? agents.silence(node);
  const believed = present.map(({ entry, node }) => believe(entry, objectionTo(node)));
  const conditions = [{ ...readyOf(believed), observedGeneration: pool.metadata.generation }];
  const part = { manager: FIELD_MANAGER, fields: poolTotals(believed), conditions, anyVersion: true, signal };
  try {
    if (present.length !== entries.length || remembered.length !== abandoned.length) {
      const { resourceVersion } = pool.metadata;
      const status = {
        ...(present.length === entries.length ? {} : { nodes: present.map(({ entry }) => entry) }),
        ...(remembered.length === abandoned.length ? {} : { abandoned: remembered }),
      };
      await kube.patch(AOE_POOLS, name, { metadata: { resourceVersion }, status }, { subresource: 'status', signal });
    }
    await applyStatus(kube, AOE_POOLS, pool, part);
  } catch (error) {
    // The pool has changed or is gone: the watch will show it.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
  return { requeueAfterMs: Math.min(POLL_MS, agents.limitMs) };
}

function believe(entry: PoolNode, objection: string | undefined): PoolNode {
  return objection === undefined ? entry : { ...entry, ready: false, message: objection };
}

/** Condition Ready: whether volumes can be created in the pool, and what is wrong on any of its nodes. */
function readyOf(entries: readonly PoolNode[]): NextCondition {
  const type = PoolCondition.Ready;
  if (entries.length === 0) {
    const message = 'no storage node has reported the pool: is one labelled aoe.dev/storage=true, and does nodeSelector match it?';
    return { type, status: 'False', reason: 'NoNode', message };
  }
  // Those that cannot be used come first.
  const byNeed = entries.toSorted((one, other) => Number(one.ready) - Number(other.ready));
  const wrong = listed(
    byNeed.flatMap(({ name, message }) => (message === undefined ? [] : [`${name}: ${message}`])),
    '; ',
  );
  const ready = entries.filter((entry) => entry.ready).map(({ name }) => name);
  if (ready.length === 0) return { type, status: 'False', reason: 'NotReady', message: wrong };
  if (wrong) return { type, status: 'True', reason: 'NeedsAttention', message: wrong };
  return { type, status: 'True', reason: 'Ready', message: `can be used on ${listed(ready.sort())}` };
}
