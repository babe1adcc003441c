import { controllerMetrics } from './controller-metrics.ts';
import { metricsText } from './metrics.ts';

test('what controllers do is counted under the names of controller-runtime', async () => {
  const metrics = controllerMetrics(['success', 'error']);
  metrics.started('volumes', 8, () => 3);
  metrics.started('nodes', 1, () => 0);
  metrics.added('volumes');
  metrics.retried('volumes');
  metrics.taken('volumes', 0.02);
  metrics.reconciled('volumes', 'success', 0.2);
  metrics.reconciled('volumes', 'error', 0.2);
  const text = await metricsText();
  for (const line of [
    'controller_runtime_reconcile_total{controller="volumes",result="success"} 1',
    'controller_runtime_reconcile_total{controller="volumes",result="error"} 1',
    // From the start: a first error would otherwise be in no rate.
    'controller_runtime_reconcile_total{controller="nodes",result="error"} 0',
    'controller_runtime_reconcile_time_seconds_bucket{le="0.3",controller="volumes"} 2',
    'controller_runtime_max_concurrent_reconciles{controller="volumes"} 8',
    'workqueue_depth{name="volumes"} 3',
    'workqueue_adds_total{name="volumes"} 1',
    'workqueue_retries_total{name="volumes"} 1',
    'workqueue_queue_duration_seconds_count{name="volumes"} 1',
  ])
    expect(text.split('\n'), line).toContain(line);
});
