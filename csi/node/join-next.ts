/**
 * Shares the results of something that takes long: one run at a time, and each call gets the result of a run that began after it.
 * @example const look = joinNext(() => lookAtProcesses(options)); await look();
 */
export function joinNext<T>(run: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    if (next) return next;
    const begin = (): Promise<T> => {
      next = undefined;
      return run();
    };
    next = last.then(begin);
    last = next.catch(() => {});
    return next;
  };
}
