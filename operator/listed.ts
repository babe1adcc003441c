/** So many are named; of the others the number is said. */
const NAMED = 5;

/** A list for a message, which a cluster of many nodes does not make longer than a person reads and an object may hold. */
export function listed(items: readonly string[], separator: ', ' | '; ' = ', '): string {
  const more = items.length - NAMED;
  return more > 0
    ? `${items.slice(0, NAMED).join(separator)}${separator === ', ' ? ' ' : separator}and ${more} more`
    : items.join(separator);
}
