/**
 * Reads something at most once per `ms`: calls within that time share one result. An error is not kept.
 * @example const present = sharedFor(3_000, listInterfaces); await present();
 */
export function sharedFor<T>(ms: number, read: () => Promise<T>): () => Promise<T> {
  let latest: Promise<T> | undefined;
  let until = 0;
  return () => {
    if (latest && performance.now() < until) return latest;
    const reading = read();
    latest = reading;
    until = performance.now() + ms;
    reading.catch(() => {
      if (latest === reading) latest = undefined;
    });
    return reading;
  };
}
