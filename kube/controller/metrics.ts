/** How a reconcile can end, in the words of controller-runtime. */
export const RECONCILE_RESULTS = ['success', 'requeue_after', 'error'] as const;
export type ReconcileResult = (typeof RECONCILE_RESULTS)[number];

/** Counts what controllers do. Kept outside of this part, so that it needs no metrics library. */
export interface ControllerMetrics {
  /** A controller begins to work. @param depth gives the number of keys that wait for a worker now */
  started(controller: string, concurrency: number, depth: () => number): void;
  /** A key was added to the queue. One that waits there already does not count. */
  added(controller: string): void;
  /** A key is to be reconciled again after a failure. */
  retried(controller: string): void;
  /** A worker takes a key that waited for this long. */
  taken(controller: string, seconds: number): void;
  reconciled(controller: string, result: ReconcileResult, seconds: number): void;
}
