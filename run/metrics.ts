import { Counter, collectDefaultMetrics, Gauge, Histogram, register } from 'prom-client';

// The delay of the event loop is measured with a timer: at the default of 10 ms it would wake an idle program 100 times a second.
collectDefaultMetrics({ eventLoopMonitoringPrecision: 200 });

/** All metrics of the process, in Prometheus' text format. */
export function metricsText(): Promise<string> {
  return register.metrics();
}

export const metricsContentType = register.contentType;

/** A gauge that is worked out whenever the metrics are read: `collect` sets a value per set of labels. */
export function gauge<L extends string>(
  name: string,
  help: string,
  labelNames: readonly L[],
  collect: (set: (labels: Record<L, string>, value: number) => void) => void,
): void {
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    collect() {
      this.reset();
      collect((labels, value) => this.set(labels, value));
    },
  });
}

export function counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
  return new Counter({ name, help, labelNames: [...labelNames] });
}

/** A histogram of seconds. */
export function histogram<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Histogram<L> {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60] });
}
