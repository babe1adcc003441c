import { TARGET_END } from '../../api/local-link.ts';
import { type AoENode, type AoENodeStatus, segmentOf } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { applyStatus, type Kube, type KubeObject, type Result, type Store } from '../../kube/mod.ts';
import { HEARD_FIELD_MANAGER } from '../field-manager.ts';
import type { TargetSilences } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';

/** While the target cannot answer. */
const RETRY_MS = 2_000;
/** A node is heard while no more of its heartbeats than this are missing. */
const MISSED_HEARTBEATS = 3;

type Answer = NonNullable<AoENodeStatus['heard']>[number];

export interface HeardOptions {
  /** Name of this node. */
  readonly node: string;
  readonly kube: Pick<Kube, 'apply' | 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get' | 'list'>;
  /** The Node of this node. */
  readonly self: Pick<Store<KubeObject>, 'get'>;
  readonly volumes: Pick<Store<AoEVolume>, 'list'>;
  readonly target: Pick<TargetConnection, 'connected' | 'supports' | 'interfaces' | 'state' | 'getHeard'>;
}

/**
 * Answers the operator's questions about nodes that are not Ready: for how long the target of this node has not heard them. Nothing is
 * written while there is no question. A target that does not answer, or is not on the segment, says nothing.
 */
export class HeardReporter {
  readonly #options: HeardOptions;

  constructor(options: HeardOptions) {
    this.#options = options;
  }

  /** Answers all questions: for kube's Controller. */
  async reconcile(signal: AbortSignal): Promise<Result> {
    const { node, kube, nodes } = this.#options;
    const self = nodes.get(node);
    if (!self) return {};
    const suspects = nodes.list().filter(({ metadata, status }) => status?.suspicion && metadata.name !== node);
    const before = self.status?.heard ?? [];
    const answerTo = ({ metadata, status }: AoENode) =>
      before.find((each) => each.node === metadata.name && each.question === status?.suspicion?.question);
    const isNew = suspects.some((suspect) => !answerTo(suspect));
    const silences = isNew && this.#listens() ? await this.#options.target.getHeard(signal) : undefined;
    const answers = suspects.flatMap((suspect) => answerTo(suspect) ?? (silences && this.#answer(suspect, silences)) ?? []);
    await applyStatus(kube, AOE_NODES, self, {
      manager: HEARD_FIELD_MANAGER,
      fields: { heard: answers.length > 0 ? answers : undefined },
      // The node plugin writes to it, too. It is about the node of this name, whichever object that is.
      anyVersion: true,
      signal,
    });
    return answers.length < suspects.length ? { requeueAfterMs: RETRY_MS } : {};
  }

  /** Whether the target can tell at all: it serves on the segment, and knows when it heard whom. */
  #listens(): boolean {
    const { target } = this.#options;
    const onSegment = target.interfaces().some(({ name, serving }) => serving && name !== TARGET_END);
    return target.connected && target.supports('heard') && onSegment;
  }

  #answer(suspect: AoENode, silences: TargetSilences): Answer | undefined {
    const { node, nodes, self } = this.#options;
    const { name } = suspect.metadata;
    const question = suspect.status?.suspicion?.question;
    const macs = [...macsOf(suspect), ...this.#admitted(name)];
    if (question === undefined || macs.length === 0) return undefined;
    const silentMs = Math.min(...macs.map((mac) => silences.silentMs.get(mac) ?? silences.listeningMs));
    const segment = segmentOf(nodes.get(node), self.get(node)?.metadata.labels);
    const others = nodes
      .list()
      .filter((other) => ![node, name].includes(other.metadata.name) && !other.status?.suspicion && canReach(other, segment));
    const hears = others.filter((other) => isHeard(other, silences)).length;
    return { node: name, question, silentSeconds: Math.floor(silentMs / 1000), hears, of: others.length };
  }

  /** Addresses that are admitted for this node alone: its AoENode may have dropped one that it still uses. */
  #admitted(name: string): string[] {
    const { volumes, target } = this.#options;
    const own = volumes.list().filter(({ spec: { access, initiators } }) => access === 'Exclusive' && initiators?.nodes?.join() === name);
    return own.flatMap(({ metadata }) => target.state(metadata.uid ?? '')?.volume.macs ?? []).map((mac) => mac.toLowerCase());
  }
}

function macsOf({ status }: AoENode): string[] {
  return (status?.interfaces ?? []).map(({ mac }) => mac.toLowerCase());
}

/** Whether a node's heartbeats can reach a target on the segment at all. What sends them has a node plugin, which reports where it is. */
function canReach(other: AoENode, segment: string): boolean {
  const { status } = other;
  const isOnSegment = status?.interfaces?.some(({ local }) => !local) ?? false;
  return isOnSegment && segmentOf(other, undefined) === segment && (status?.heartbeatSeconds ?? 0) > 0;
}

function isHeard(other: AoENode, { silentMs }: TargetSilences): boolean {
  const limitMs = (MISSED_HEARTBEATS + 0.5) * 1000 * (other.status?.heartbeatSeconds ?? 0);
  return macsOf(other).some((mac) => (silentMs.get(mac) ?? Number.POSITIVE_INFINITY) <= limitMs);
}
