import type { Condition } from '../client/types.ts';

export type NextCondition = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'> & { observedGeneration?: number | undefined };

/**
 * The condition to write. It keeps its transition time while its status is the one that it has in `conditions`.
 * Times are in whole seconds, as Kubernetes stores them.
 */
export function setCondition(conditions: readonly Condition[] | undefined, next: NextCondition): Condition {
  const before = conditions?.find(({ type }) => type === next.type);
  const { type, status, reason, message, observedGeneration } = next;
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : `${new Date().toISOString().slice(0, 19)}Z`;
  return { type, status, reason, message, lastTransitionTime, ...(observedGeneration === undefined ? {} : { observedGeneration }) };
}
