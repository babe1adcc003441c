import { TARGET_END } from '../../api/local-link.ts';
import { type AoENode, NodeCondition } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import { applyStatus, type Kube, type Result, type Store, WriteDelay } from '../../kube/mod.ts';
import type { BlocksAddress } from '../blocks/server.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import type { TargetConnection } from '../target/connection.ts';
import type { NodeNetwork } from './network.ts';

/** How often the status is checked, and agentSeen renewed. */
const CHECK_EVERY_MS = 60_000;
/** For how long changes of the number of served volumes gather: it is for people. */
const COUNT_DELAY_MS = 5_000;

export interface NodeReconcilerOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'get'>;
  nodes: Store<AoENode>;
  target: Pick<TargetConnection, 'connected' | 'problem' | 'interfaces' | 'served'>;
  network: Pick<NodeNetwork, 'link'>;
  /** Where this agent is asked for blocks of snapshots; undefined when it is not. */
  blocks?: () => BlocksAddress | undefined;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** Keeps the agent's part of this node's AoENode: when the agent was last seen, the local link, how many volumes are served, condition TargetReady. */
export class NodeReconciler {
  readonly #options: NodeReconcilerOptions;
  readonly #delay: WriteDelay;

  constructor(options: NodeReconcilerOptions) {
    this.#options = options;
    this.#delay = new WriteDelay(COUNT_DELAY_MS, options.now);
  }

  /** Reconciles the AoENode of this node, which it makes when there is none: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result> {
    const { nodes, kube, target, network, blocks, now = Date.now } = this.#options;
    // The node plugin may create it at the same moment, with the same outcome.
    const created = { metadata: { name }, spec: {} };
    const node = nodes.get(name) ?? (await kube.apply<AoENode>(AOE_NODES, created, { fieldManager: FIELD_MANAGER, force: true, signal }));
    const before = node.status;
    // Once made, the link stays in the status: its address does not change, and the condition says what is wrong with it.
    const reported = before?.interfaces?.filter(({ local }) => local) ?? [];
    const interfaces = 'mac' in network.link ? [{ ...network.link, local: true }] : reported;
    const served = target.connected ? target.served : (before?.targets ?? 0);
    const leftMs = before?.targets === undefined || before.targets === served ? 0 : this.#delay.left(name);
    if (leftMs === 0) this.#delay.clear(name);
    const targets = leftMs > 0 ? before?.targets : served;
    // A time in the future was written before the clock was set back.
    const ageMs = now() - Date.parse(before?.agentSeen ?? '');
    const agentSeen = ageMs >= 0 && ageMs < CHECK_EVERY_MS ? before?.agentSeen : `${new Date(now()).toISOString().slice(0, 19)}Z`;
    await applyStatus(kube, AOE_NODES, node, {
      manager: FIELD_MANAGER,
      conditions: [{ type: NodeCondition.TargetReady, ...this.#targetReady() }],
      fields: { interfaces, targets, agentSeen, blocks: blocks?.() },
      present: { interfaces: reported },
      // The node plugin writes to it, too. It is about the node of this name, whichever object that is.
      anyVersion: true,
      signal,
    });
    return { requeueAfterMs: leftMs > 0 ? Math.min(leftMs, CHECK_EVERY_MS) : CHECK_EVERY_MS };
  }

  #targetReady(): { status: 'True' | 'False'; reason: string; message: string } {
    const { target, network } = this.#options;
    const no = (reason: string, message: string) => ({ status: 'False', reason, message }) as const;
    if (!target.connected) return no('NotAnswering', `the target process does not answer: ${target.problem}`);
    const segment = target.interfaces().filter(({ name }) => name !== TARGET_END);
    const serving = segment.filter((entry) => entry.serving).map(({ name }) => name);
    const missing = segment.filter((entry) => !entry.serving).map(({ name, error }) => `${name} (${error})`);
    if (serving.length === 0) {
      const cause =
        missing.length > 0 ? `not on ${missing.join(', ')}` : 'no physical interface is up; name those to use with --interfaces';
      return no('NoInterface', `the target serves on no interface of the segment: ${cause}`);
    }
    if ('problem' in network.link) return no('NoLocalLink', `pods on this node cannot reach its volumes: ${network.link.problem}`);
    const on = `serving on ${serving.join(', ')}`;
    if (missing.length > 0) return { status: 'True', reason: 'InterfaceMissing', message: `${on}; not on ${missing.join(', ')}` };
    return { status: 'True', reason: 'Serving', message: on };
  }
}
