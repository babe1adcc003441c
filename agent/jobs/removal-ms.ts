/**
 * In milliseconds, for the removal of data beside reconciles. `patience`: how long a reconcile waits for it. It goes on after that: changes of access
 * must not wait for a pool that is slow or hangs. `limit`: then the removal is decided on again, so no answer of the API server counts for longer.
 */
export const REMOVAL_MS = { patience: 100, limit: 10 * 60_000 } as const;
