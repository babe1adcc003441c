import type { AoENode } from './node.ts';

/** An agent reports about once a minute that it is alive; after this it counts as silent. */
const LIMIT_MS = 5 * 60_000;

/**
 * When agents reported last, by the clock of the program that asks, since those of the nodes may be wrong. Operator and CSI controller
 * have one each. Times are in milliseconds.
 */
export class AgentLiveness {
  /** By node: the last sign of life (status.agentSeen), when it came, and whether the agent had been silent until then. */
  readonly #signs = new Map<string, { sign: string; at: number; endedSilence: boolean }>();
  readonly #now: () => number;
  /** An agent that has not reported for this long is silent. */
  readonly limitMs: number;

  constructor({ limitMs = LIMIT_MS, now = () => performance.now() }: { limitMs?: number; now?: () => number } = {}) {
    this.limitMs = limitMs;
    this.#now = now;
  }

  /** Notes what a node reports now: to be called at each change of an AoENode, before anything is asked about it. */
  heard({ metadata: { name }, status }: AoENode): void {
    const sign = status?.agentSeen;
    const before = this.#signs.get(name);
    if (sign === undefined || before?.sign === sign) return;
    this.#signs.set(name, { sign, at: this.#now(), endedSilence: before !== undefined && this.#isOver(before.at) });
  }

  forget(node: string): void {
    this.#signs.delete(node);
  }

  /**
   * Why a storage node cannot be relied on, for people: its agent is silent. Undefined when the agent reported lately, or is of a
   * version that does not report.
   */
  silence({ metadata: { name }, status }: AoENode): string | undefined {
    const last = this.#signs.get(name);
    if (!status?.agentSeen || !last || !this.#isOver(last.at)) return undefined;
    return `the agent on ${name} is silent since ${status.agentSeen}: is its pod running there, and does the node have the label aoe.dev/storage=true?`;
  }

  /** Whether the agent's last report ended a silence. */
  endedSilence(node: string): boolean {
    return this.#signs.get(node)?.endedSilence ?? false;
  }

  #isOver(since: number): boolean {
    return this.#now() - since >= this.limitMs;
  }
}
