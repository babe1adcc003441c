import { isDeepStrictEqual } from 'node:util';
import type { AoENode } from '../../api/node.ts';

/** An agent says about once a minute that it is alive. */
const LIMIT_MS = 5 * 60_000;

/** When agents were heard of, by our own clock: those of the nodes may be wrong. Times are in milliseconds. */
export class AgentWatch {
  /** By node: the last sign of life, and when it was first seen here. */
  readonly #heard = new Map<string, { sign: string; at: number }>();
  readonly #now: () => number;
  /** After this an agent is silent. */
  readonly limitMs: number;

  constructor({ limitMs = LIMIT_MS, now = () => performance.now() }: { limitMs?: number; now?: () => number } = {}) {
    this.limitMs = limitMs;
    this.#now = now;
  }

  /** Takes in what a node says now. @returns whether its agent had been silent until now */
  hear({ metadata: { name }, status }: AoENode): boolean {
    const sign = status?.agentSeen;
    const before = this.#heard.get(name);
    if (sign === undefined || before?.sign === sign) return false;
    this.#heard.set(name, { sign, at: this.#now() });
    return before !== undefined && this.#isOver(before.at);
  }

  forget(node: string): void {
    this.#heard.delete(node);
  }

  /**
   * Why nobody looks after a storage node, for people; undefined when its agent was heard of lately, or is of a version that does
   * not say.
   */
  silent(node: AoENode | undefined): string | undefined {
    if (!node?.status?.agentSeen) return undefined;
    this.hear(node);
    const { name } = node.metadata;
    if (!this.#isOver(this.#heard.get(name)?.at ?? this.#now())) return undefined;
    return `the agent on ${name} is silent since ${node.status.agentSeen}: is its pod running there, and the node labelled aoe.dev/storage=true?`;
  }

  /** Whether a node has changed only in that its agent, which was not silent, said again that it is alive: that is no news. */
  isHeartbeat(node: AoENode, previous: AoENode | undefined): boolean {
    const wasSilent = this.hear(node);
    if (!previous || wasSilent || node.status?.agentSeen === previous.status?.agentSeen) return false;
    return isDeepStrictEqual(rest(node), rest(previous));
  }

  #isOver(since: number): boolean {
    return this.#now() - since >= this.limitMs;
  }
}

/** All of a node that is news. */
function rest(node: AoENode): object {
  return { ...node, metadata: { ...node.metadata, resourceVersion: undefined }, status: { ...node.status, agentSeen: undefined } };
}
