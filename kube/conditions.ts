import type { Condition } from '../api/meta.ts';

/** A condition as it is to be written: the time of the last transition is kept while the status is the same. */
export function setCondition(present: readonly Condition[] | undefined, next: Omit<Condition, 'lastTransitionTime'>): Condition {
  const before = present?.find(({ type }) => type === next.type);
  const lastTransitionTime = before?.status === next.status ? before.lastTransitionTime : new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return { ...next, lastTransitionTime };
}
