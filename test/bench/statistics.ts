/** The middle value; of an even number the mean of both. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle - 1)] ?? Number.NaN)) / 2;
}

/** Median of each number that all of these have. */
export function medians<T extends Record<string, number>>(results: readonly T[]): T {
  const [first] = results;
  if (!first) throw new RangeError('no results to take medians of');
  return Object.fromEntries(Object.keys(first).map((key) => [key, median(results.map((result) => result[key] ?? Number.NaN))])) as T;
}
