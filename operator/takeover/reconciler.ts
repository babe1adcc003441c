import { randomUUID } from 'node:crypto';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import { type AoENode, NodeCondition } from '../../api/node.ts';
import { AOE_NODES, NODES } from '../../api/resources.ts';
import { takeoverAfterMs } from '../../api/takeover/after.ts';
import { takenFrom } from '../../api/volume.ts';
import { type Change, isNotFound, type KubeObject, type Result, type Store } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { listed } from '../listed.ts';
import { type Decision, decide, type HeldReason, SETTLE_MS, type View } from './decide.ts';
import { connected, eligible, ours, type PodOnNode } from './eligible.ts';
import { finish, type Parts, recordOf, take } from './finish.ts';
import { isOurs, readNode } from './on-node.ts';

/** After an attempt that others got in the way of. */
const RETRY_MS = 1_000;
/** Until the next step of a takeover, which waits for others: often at first, and rarely for what does not come. */
const STEP_MS = 1_000;
const STEPS_FOR_MS = 60_000;
const SLOW_STEP_MS = 15_000;
/** After this time, a person is told what one step waits for. */
const TELL_MS = 5 * 60_000;
/** While all volumes of a silent node are used by pods that stay as they are. */
const NOTHING_ELIGIBLE_MS = 30_000;

/** A verdict to take volumes of a node. */
interface FirstVerdict {
  readonly at: number;
  /** For how long the node was silent. */
  readonly silentMs: number;
  /** Those whose targets gave evidence. */
  readonly volumes: ReadonlySet<string>;
}

export interface TakeoverOptions extends Parts {
  /** The silence after which volumes without a value of their own are taken over, in milliseconds; undefined: never. */
  readonly afterMs: number | undefined;
  readonly nodes: Pick<Store<AoENode>, 'get' | 'list'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get' | 'list'>;
  /** Names of the volumes whose spec.initiators names a node. */
  readonly volumesOf: (node: string) => readonly string[];
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/**
 * Takes Exclusive volumes from nodes that are silent: not Ready, and not heard by any target that answers (docs/adr/0035). The memory of what was
 * asked is this process's own, so a new leader asks again; a takeover that was begun is noted at the volume, and goes on.
 */
export class TakeoverReconciler {
  readonly #options: TakeoverOptions;
  readonly #now: () => number;
  readonly #notReadySince = new Map<string, number>();
  readonly #questions = new Map<string, { id: string; askedAt: number }>();
  /** The first verdict about a node to take volumes. Since then each verdict has been to take some. */
  readonly #firstVerdicts = new Map<string, FirstVerdict>();
  /** Takeovers that were begun, by node: what they wait for, and since when for that. */
  readonly #unfinished = new Map<string, { waits: string; since: number; isTold: boolean }>();
  /** Pods of a silent node that stay as they are, each with the cause that was told, by node. */
  readonly #skipped = new Map<string, Set<string>>();
  readonly #held = new Map<string, HeldReason>();
  #leadingSince: number | undefined;
  #taken = 0;

  constructor(options: TakeoverOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Silent nodes whose volumes stay where they are, by reason. */
  get held(): ReadonlyMap<string, HeldReason> {
    return this.#held;
  }

  /** Volumes that were taken since this process began. */
  get taken(): number {
    return this.#taken;
  }

  /** Notes since when a node has not been Ready; one that was Ready meanwhile needs two verdicts again. Call it at each change of a Node, before the reconcile. */
  note({ type, object }: Change<KubeNode>): void {
    const { name } = object.metadata;
    if (type === 'deleted' || notReady(object) === undefined) {
      this.#notReadySince.delete(name);
      this.#firstVerdicts.delete(name);
    } else if (!this.#notReadySince.has(name)) this.#notReadySince.set(name, this.#now());
  }

  /** Reconciles a node: for kube's Controller. */
  async reconcile(node: string, signal: AbortSignal): Promise<Result> {
    this.#leadingSince ??= this.#now();
    const unfinished = await this.#finish(node, signal);
    const view = this.#view(node);
    const decision = decide(view);
    const isHeard = decision.do === 'wait' && decision.heard;
    // While a new question waits for its answers, what held the last attempt still does.
    if (decision.do === 'nothing' || decision.do === 'take' || isHeard) this.#held.delete(node);
    if (decision.do === 'nothing' || decision.do === 'hold' || isHeard) this.#firstVerdicts.delete(node);
    const next = await this.#carryOut(node, decision, signal);
    const pauses = [unfinished, next].flatMap((each) => each?.requeueAfterMs ?? []);
    return pauses.length > 0 ? { requeueAfterMs: Math.min(...pauses) } : {};
  }

  /** Goes on with what was begun. */
  async #finish(node: string, signal: AbortSignal): Promise<Result | undefined> {
    const found = await finish(this.#options, node, signal);
    if (!found) {
      this.#unfinished.delete(node);
      return undefined;
    }
    const waits = listed(found, '; ');
    const before = this.#unfinished.get(node);
    const now = this.#now();
    const step = before?.waits === waits ? before : { waits, since: now, isTold: false };
    this.#unfinished.set(node, step);
    if (now - step.since >= TELL_MS && !step.isTold && waits !== '') {
      step.isTold = true;
      this.#tell(
        node,
        'TakeoverNotEnded',
        `the takeover of volumes from node ${node} waits for more than ${TELL_MS / 60_000} minutes: ${waits}`,
      );
    }
    return { requeueAfterMs: now - step.since < STEPS_FOR_MS ? STEP_MS : SLOW_STEP_MS };
  }

  #tell(node: string, reason: string, message: string): void {
    const object = this.#options.nodes.get(node);
    if (object) this.#options.events.event(object, 'Warning', reason, message);
  }

  async #carryOut(node: string, decision: Decision, signal: AbortSignal): Promise<Result | undefined> {
    switch (decision.do) {
      case 'nothing':
        this.#questions.delete(node);
        this.#skipped.delete(node);
        if (this.#options.nodes.get(node)?.status?.suspicion) await this.#write(node, null, signal);
        return undefined;
      case 'wait':
        return { requeueAfterMs: decision.ms };
      case 'hold': {
        this.#held.set(node, decision.reason);
        // The next attempt begins with a new question.
        this.#questions.delete(node);
        this.#tell(node, 'TakeoverHeld', `the volumes of node ${node} stay where they are: ${decision.message}`);
        return { requeueAfterMs: decision.ms };
      }
      case 'ask': {
        const question = { id: randomUUID(), askedAt: this.#now() };
        this.#questions.set(node, question);
        await this.#write(node, { question: question.id }, signal);
        return { requeueAfterMs: RETRY_MS };
      }
      case 'take': {
        const { silentMs, volumes } = decision;
        const first = this.#firstVerdicts.get(node) ?? { at: this.#now(), silentMs, volumes: new Set(volumes) };
        this.#firstVerdicts.set(node, first);
        return (await this.#confirm(node, first.at, signal)) ?? this.#take(node, decision, first, signal);
      }
    }
  }

  /**
   * When an outage ends, targets hear nodes again before those are Ready, and not all at once. So a verdict counts once there is another like it, on a
   * question that was asked SETTLE_MS later.
   * @param firstAt when the first verdict was
   * @returns when to look again; undefined when this is the second verdict
   */
  async #confirm(node: string, firstAt: number, signal: AbortSignal): Promise<Result | undefined> {
    const now = this.#now();
    const againAt = firstAt + SETTLE_MS;
    if (now < againAt) return { requeueAfterMs: againAt - now };
    if ((this.#questions.get(node)?.askedAt ?? now) < againAt) return this.#carryOut(node, { do: 'ask' }, signal);
    this.#firstVerdicts.delete(node);
    return undefined;
  }

  /** @param first a volume is taken when at both verdicts its target gave evidence, and its time was over */
  async #take(
    node: string,
    { volumes: evident, silentMs }: { volumes: readonly string[]; silentMs: number },
    first: FirstVerdict,
    signal: AbortSignal,
  ): Promise<Result> {
    const { kube, volumes, events, log } = this.#options;
    const overMs = Math.min(first.silentMs, silentMs);
    const asked = this.#questions.get(node);
    this.#questions.delete(node);
    // The API server itself is asked: a watch may be late.
    const why = notReady(await kube.get<KubeNode>(NODES, node, { signal }));
    if (why === undefined) return { requeueAfterMs: RETRY_MS };
    const onNode = await readNode(this.#options, node, signal);
    const attached = evident.filter((name) => onNode.attachments.has(name));
    const plan = eligible(
      onNode.pods,
      attached.filter((name) => first.volumes.has(name) && this.#isDue(name, overMs)),
    );
    // As they were planned with: one that is changed from now on, such as to Never, is not written.
    const planned = plan.volumes.flatMap((name) => volumes.get(name) ?? []);
    this.#tellSkipped(node, { pods: onNode.pods, attached, overMs });
    const now = this.#now();
    const silentNowMs = silentMs + now - (asked?.askedAt ?? now);
    if (planned.length === 0) {
      // Those with evidence from now on wait only for their second verdict.
      if (evident.some((name) => !first.volumes.has(name))) return { requeueAfterMs: RETRY_MS };
      const nextMs = this.#nextAfterMs(node, overMs) - silentNowMs;
      return { requeueAfterMs: Math.min(NOTHING_ELIGIBLE_MS, Math.max(RETRY_MS, nextMs)) };
    }
    const silence = `${why}, and no target that answers has heard it for ${Math.floor(silentNowMs / 1000)} s`;
    const dropped = new Set<string>();
    for (const volume of planned) {
      const { name } = volume.metadata;
      if (dropped.has(name)) continue;
      if (!(await take(this.#options, volume, recordOf(node, name, { plan, onNode }), signal))) {
        // Its pods may have to stay now, and so their other volumes. Where one of those was taken before, finish() goes on.
        for (const each of connected(plan, [name]).volumes) dropped.add(each);
        continue;
      }
      this.#taken++;
      log.warn({ volume: name, node, silence }, 'volume taken from a silent node');
      events.event(volume, 'Warning', 'TakenOver', `taken from node ${node}: ${silence}`);
    }
    return { requeueAfterMs: RETRY_MS };
  }

  /**
   * Tells, once for each cause, why a pod stays as it is although a volume of it is due. One that only waits for the time of another volume, or for the
   * end of a takeover, does not stay.
   */
  #tellSkipped(
    node: string,
    { pods, attached, overMs }: { pods: readonly PodOnNode[]; attached: readonly string[]; overMs: number },
  ): void {
    const { volumes, events } = this.#options;
    const waits = (name: string): boolean => {
      const volume = volumes.get(name);
      return volume !== undefined && ((this.#afterMs(name) ?? 0) > overMs || takenFrom(volume)?.node === node);
    };
    const waiting = pods.flatMap(ours).filter(waits);
    const never = (name: string): string | undefined => {
      if (this.#afterMs(name) !== undefined) return undefined;
      return volumes.get(name)?.spec.takeoverAfter === undefined
        ? 'is never taken over: neither its spec.takeoverAfter nor takeover.after of the chart has a time'
        : 'is never taken over: its spec.takeoverAfter is Never';
    };
    const told = this.#skipped.get(node) ?? new Set<string>();
    this.#skipped.set(node, told);
    for (const { pod, why } of eligible(pods, [...attached, ...waiting], never).left) {
      const key = `${pod.uid} ${why}`;
      if (told.has(key) || !ours(pod).some((name) => this.#isDue(name, overMs))) continue;
      told.add(key);
      const object: KubeObject = { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod.name, namespace: pod.namespace, uid: pod.uid } };
      events.event(object, 'Warning', 'TakeoverSkipped', `node ${node} is silent, and this pod stays as it is: ${why}`);
    }
  }

  /** The silence after which a volume is taken, in milliseconds; undefined: never. */
  #afterMs(name: string): number | undefined {
    const volume = this.#options.volumes.get(name);
    return volume && takeoverAfterMs(volume.spec, this.#options.afterMs);
  }

  /** Whether the time of a volume was over after this silence. */
  #isDue(name: string, overMs: number): boolean {
    const afterMs = this.#afterMs(name);
    return afterMs !== undefined && afterMs <= overMs;
  }

  /** The next silence after which more volumes of a node can be taken. */
  #nextAfterMs(node: string, overMs: number): number {
    const times = this.#options.volumesOf(node).flatMap((name) => this.#afterMs(name) ?? []);
    return Math.min(...times.filter((afterMs) => afterMs > overMs));
  }

  #view(node: string): View {
    const { nodes, kubeNodes, volumes, volumesOf } = this.#options;
    const candidates = volumesOf(node).flatMap((name) => volumes.get(name) ?? []);
    const known = nodes.list().filter(({ metadata }) => kubeNodes.get(metadata.name) !== undefined);
    const isSilent = ({ metadata }: AoENode): boolean => notReady(kubeNodes.get(metadata.name)) !== undefined;
    return {
      now: this.#now(),
      leadingSince: this.#leadingSince ?? this.#now(),
      notReadySince: this.#notReadySince.get(node),
      hasHeartbeat: (nodes.get(node)?.status?.heartbeatSeconds ?? 0) > 0,
      question: this.#questions.get(node),
      cluster: { nodes: known.length, notReady: known.filter(isSilent).length },
      targets: known.flatMap((each) => {
        const ready = each.status?.conditions?.find(({ type }) => type === NodeCondition.TargetReady);
        if (!ready || each.metadata.name === node) return [];
        const heard = each.status?.heard?.find((entry) => entry.node === node);
        const answer = heard && { ...heard, silentMs: heard.silentSeconds * 1000 };
        return [{ node: each.metadata.name, expected: ready.status === 'True' && !isSilent(each), answer }];
      }),
      volumes: candidates
        .filter((volume) => isOurs(volume) && takenFrom(volume)?.node !== node)
        .flatMap((volume) => {
          const { metadata, spec } = volume;
          const afterMs = this.#afterMs(metadata.name);
          return spec.nodeName === undefined || afterMs === undefined ? [] : [{ name: metadata.name, storage: spec.nodeName, afterMs }];
        }),
    };
  }

  /** Asks the agents about a node, or withdraws the question. */
  async #write(node: string, suspicion: { question: string } | null, signal: AbortSignal): Promise<void> {
    try {
      const options = { subresource: 'status', fieldManager: FIELD_MANAGER, signal } as const;
      await this.#options.kube.patch(AOE_NODES, node, { status: { suspicion } }, options);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
