/**
 * Marks a promise as handled, so that a rejection before it is awaited does not end the process. For work that is started early, beside
 * other work. Its caller must await it on every path on which what it does must have ended.
 */
export function early<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}
