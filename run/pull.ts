/**
 * Turns work that hands over items one after the other into something to iterate over. The work waits until each item is taken.
 * When the iteration ends early, the signal of the work is aborted, and the iteration ends once the work has ended.
 * @param work gets `push`, which resolves when the item was taken and rejects when none is taken any more, and a signal that is aborted when nobody takes more
 * @throws what the work throws; the reason of `signal` when that is aborted
 * @example for await (const line of pull((push, stop) => readLines(file, push, stop), signal)) print(line);
 */
export async function* pull<T>(
  work: (push: (item: T) => Promise<void>, stop: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const left = new AbortController();
  const stop = AbortSignal.any([signal, left.signal]);
  let offered: { item: T; taken: () => void } | undefined;
  let isEnded = false;
  let news = Promise.withResolvers<void>();
  const push = async (item: T): Promise<void> => {
    stop.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onStop = (): void => reject(stop.reason);
    stop.addEventListener('abort', onStop, { once: true });
    offered = { item, taken: resolve };
    news.resolve();
    try {
      await promise;
    } finally {
      stop.removeEventListener('abort', onStop);
    }
  };
  const working = work(push, stop).finally(() => {
    isEnded = true;
    news.resolve();
  });
  working.catch(() => {});
  try {
    for (;;) {
      await news.promise;
      news = Promise.withResolvers();
      if (offered) {
        const { item, taken } = offered;
        offered = undefined;
        yield item;
        taken();
      } else if (isEnded) break;
    }
    await working;
  } finally {
    left.abort(new Error('nobody reads any more'));
    await working.catch(() => {});
  }
}
