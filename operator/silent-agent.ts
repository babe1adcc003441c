import { isDeepStrictEqual } from 'node:util';
import type { AoENode } from '../api/node.ts';

/** An agent says about once a minute that it is alive. */
const SILENT_MS = 5 * 60_000;

/**
 * Why nobody looks after a storage node, for people; undefined when its agent was heard of lately, or is of a version that does
 * not say.
 * @param now milliseconds since 1970
 */
export function silentAgent(node: AoENode | undefined, now: number): string | undefined {
  const seen = node?.status?.agentSeen;
  if (!node || seen === undefined || now - Date.parse(seen) < SILENT_MS) return undefined;
  const { name } = node.metadata;
  return `the agent on ${name} is silent since ${seen}: is its pod running there, and the node labelled aoe.dev/storage=true?`;
}

/** Whether a node has changed only in that its agent, which was not silent, said again that it is alive: that is no news. */
export function isHeartbeat(node: AoENode, previous: AoENode | undefined, now: number): boolean {
  if (!previous || node.status?.agentSeen === previous.status?.agentSeen) return false;
  if (silentAgent(previous, now) || silentAgent(node, now)) return false;
  return isDeepStrictEqual(rest(node), rest(previous));
}

function rest({ metadata: { resourceVersion: _, ...metadata }, spec, status: { agentSeen: __, ...status } = {} }: AoENode): object {
  return { metadata, spec, status };
}
