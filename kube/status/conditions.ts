import type { Condition } from '../client/types.ts';

export type NextCondition = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'> & { observedGeneration?: number | undefined };

/** Characters of a message: far below what an API server takes (32768), and more than a person reads. */
const MAX_MESSAGE = 4096;

/**
 * The condition to write. It keeps its transition time while its status is the one that it has in `conditions`. Times are in whole seconds, as
 * Kubernetes stores them. A message that is too long is cut: else nothing of the status could be written.
 */
export function setCondition(conditions: readonly Condition[] | undefined, next: NextCondition): Condition {
  const before = conditions?.find(({ type }) => type === next.type);
  const { type, status, reason, observedGeneration } = next;
  const message = next.message.length > MAX_MESSAGE ? `${next.message.slice(0, MAX_MESSAGE - 1)}…` : next.message;
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : `${new Date().toISOString().slice(0, 19)}Z`;
  return { type, status, reason, message, lastTransitionTime, ...(observedGeneration === undefined ? {} : { observedGeneration }) };
}
