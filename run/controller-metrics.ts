import { counter, gauge, histogram } from './metrics.ts';

/** A controller's name, as controller-runtime labels it. */
const CONTROLLER = ['controller'] as const;
/** The same name where client-go's work queue labels it. */
const NAME = ['name'] as const;

/**
 * Registers the metrics of controllers under the names that controller-runtime and client-go give them, so that their dashboards
 * and alerts fit. Once in a process; fits kube's ControllerMetrics.
 * @param results how a reconcile can end: kube's RECONCILE_RESULTS
 */
export function controllerMetrics<Result extends string>(results: readonly Result[]) {
  const reconciles = counter('controller_runtime_reconcile_total', 'Reconciles by result.', ['controller', 'result']);
  const seconds = histogram('controller_runtime_reconcile_time_seconds', 'Time that a reconcile takes.', CONTROLLER);
  const added = counter('workqueue_adds_total', 'Keys added to the queue.', NAME);
  const retried = counter('workqueue_retries_total', 'Keys added to the queue again after a failure.', NAME);
  const queued = histogram('workqueue_queue_duration_seconds', 'Time that a key waits in the queue.', NAME);
  const running = new Map<string, { concurrency: number; depth: () => number }>();
  gauge('controller_runtime_max_concurrent_reconciles', 'Reconciles that may run at once.', CONTROLLER, (set) => {
    for (const [controller, { concurrency }] of running) set({ controller }, concurrency);
  });
  gauge('workqueue_depth', 'Keys that wait for a worker.', NAME, (set) => {
    for (const [name, { depth }] of running) set({ name }, depth());
  });
  return {
    started(controller: string, concurrency: number, depth: () => number): void {
      running.set(controller, { concurrency, depth });
      // A rate is seen only of a counter that was there before.
      for (const result of results) reconciles.inc({ controller, result }, 0);
    },
    added: (name: string): void => added.inc({ name }),
    retried: (name: string): void => retried.inc({ name }),
    taken: (name: string, waited: number): void => queued.observe({ name }, waited),
    reconciled(controller: string, result: Result, took: number): void {
      reconciles.inc({ controller, result });
      seconds.observe({ controller }, took);
    },
  };
}
