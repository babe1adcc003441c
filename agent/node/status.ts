import { isDeepStrictEqual } from 'node:util';
import { TARGET_END } from '../../api/local-link.ts';
import { type AoENode, NodeCondition } from '../../api/node.ts';
import { AOE_NODES, API_VERSION } from '../../api/resources.ts';
import { type Kube, type Store, setCondition } from '../../kube/mod.ts';
import type { TargetLink } from '../target/connection.ts';
import { FIELD_MANAGER } from '../volume/status.ts';
import type { LocalLink } from './local-link.ts';

/** So often it is looked whether our part was changed by somebody else, and said that this agent is alive. */
const CHECK_EVERY_MS = 60_000;

export interface NodeStatusOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply'>;
  nodes: Store<AoENode>;
  target: TargetLink;
  /** The local link, once made, or why there is none. */
  link: () => LocalLink | { problem: string };
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** Keeps the storage node's part of its AoENode: that this agent is alive, the local link, how many volumes it serves, whether the target is well. */
export class NodeStatus {
  readonly #options: NodeStatusOptions;

  constructor(options: NodeStatusOptions) {
    this.#options = options;
  }

  /** For kube's Controller: keys other than this node's name are left alone. */
  async reconcile(name: string, signal: AbortSignal): Promise<{ requeueAfterMs: number } | undefined> {
    const { node, nodes, kube, target, now = Date.now } = this.#options;
    if (name !== node) return undefined;
    const present = nodes.get(node);
    const object = { apiVersion: API_VERSION, kind: AOE_NODES.kind, metadata: { name } };
    // Apply creates it; the node plugin may do so at the same moment, with the same outcome.
    if (!present) await kube.apply(AOE_NODES, { ...object, spec: {} }, { fieldManager: FIELD_MANAGER, force: true, signal });

    const link = this.#options.link();
    // Once made, it is told of whatever becomes of it: its address stays, and trouble with it is the condition's to tell.
    const told = present?.status?.interfaces?.filter(({ local }) => local) ?? [];
    const interfaces = 'mac' in link ? [{ ...link, local: true }] : told;
    const targets = target.connected ? target.states().length : (present?.status?.targets ?? 0);
    const [status, reason, message] = this.#health(link);
    const condition = setCondition(present?.status?.conditions, { type: NodeCondition.TargetReady, status, reason, message });
    const before = present?.status;
    // One from the future was written before the clock was set.
    const age = now() - Date.parse(before?.agentSeen ?? '');
    const same =
      age >= 0 &&
      age < CHECK_EVERY_MS &&
      isDeepStrictEqual(
        before?.conditions?.find(({ type }) => type === NodeCondition.TargetReady),
        condition,
      ) &&
      before?.targets === targets &&
      isDeepStrictEqual(told, interfaces);
    if (!same) {
      const agentSeen = `${new Date(now()).toISOString().slice(0, 19)}Z`;
      const next = { ...object, status: { interfaces, targets, agentSeen, conditions: [condition] } };
      await kube.apply(AOE_NODES, next, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
    }
    return { requeueAfterMs: CHECK_EVERY_MS };
  }

  #health(link: LocalLink | { problem: string }): ['True' | 'False', string, string] {
    const { target } = this.#options;
    if (!target.connected) return ['False', 'NotAnswering', `the target process does not answer: ${target.problem}`];
    const segment = target.interfaces().filter(({ name }) => name !== TARGET_END);
    const serving = segment.filter((entry) => entry.serving).map(({ name }) => name);
    const not = segment.filter((entry) => !entry.serving).map(({ name, error }) => `${name} (${error})`);
    if (serving.length === 0) {
      const why = not.length > 0 ? `not on ${not.join(', ')}` : 'no physical one is up; name those to use with --interfaces';
      return ['False', 'NoInterface', `the target serves on no interface of the segment: ${why}`];
    }
    if ('problem' in link) return ['False', 'NoLocalLink', `pods on this node cannot reach its volumes: ${link.problem}`];
    const on = `serving on ${serving.join(', ')}`;
    return not.length > 0 ? ['True', 'InterfaceMissing', `${on}; not on ${not.join(', ')}`] : ['True', 'Serving', on];
  }
}
