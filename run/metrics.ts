import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, register } from 'prom-client';

// The delay of the event loop is measured with a timer. With the default of 10 ms it would wake an idle program 100 times a second.
collectDefaultMetrics({ eventLoopMonitoringPrecision: 200 });

/** All metrics of the process, in Prometheus' text format. */
export function metricsText(): Promise<string> {
  return register.metrics();
}

export const metricsContentType = register.contentType;

/** Gives a value for each set of labels. It must not throw: then no metric could be read. */
export type Collect<L extends string, V = number> = (set: (labels: Record<L, string>, value: V) => void) => void | Promise<void>;

/** All values, before any is stored: two readings may be under way at once, and would otherwise add to one another's values. */
async function collected<L extends string>(collect: Collect<L>): Promise<[Record<L, string>, number][]> {
  const values: [Record<L, string>, number][] = [];
  await collect((labels, value) => void values.push([labels, value]));
  return values;
}

/** A gauge whose values are computed each time the metrics are read. */
export function gauge<L extends string>(name: string, help: string, labelNames: readonly L[], collect: Collect<L>): void {
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    async collect() {
      const values = await collected(collect);
      this.reset();
      for (const [labels, value] of values) this.set(labels, value);
    },
  });
}

/** A counter that something else counts, such as another process: its values are collected each time the metrics are read. */
export function collectedCounter<L extends string>(name: string, help: string, labelNames: readonly L[], collect: Collect<L>): void {
  new Counter({
    name,
    help,
    labelNames: [...labelNames],
    async collect() {
      const values = await collected(collect);
      this.reset();
      for (const [labels, value] of values) this.inc(labels, value);
    },
  });
}

/** The state of a histogram of seconds. */
export interface Counted {
  /** Upper bounds of all buckets but the last, ascending. */
  bounds: readonly number[];
  /** Observations in each bucket alone, not cumulative; one more than bounds. */
  counts: readonly number[];
  /** Sum of all observed values. */
  sum: number;
}

/**
 * A histogram that something else counts, such as another process: its state is collected each time the metrics are read.
 * @param labelNames for the page of metrics; the labels of each value are those that `collect` sets
 */
export function collectedHistogram<L extends string>(
  name: string,
  help: string,
  collect: Collect<L, Counted>,
  labelNames: readonly L[] = [],
): void {
  // prom-client's Histogram can only observe single values.
  const metric = {
    name,
    help,
    type: 'histogram',
    labelNames,
    async get() {
      const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
      await collect((labels, { bounds, counts, sum }) => {
        let below = 0;
        for (const [index, count] of counts.entries()) {
          below += count;
          values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: below });
        }
        values.push({ metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: below });
      });
      return { name, help, type: 'histogram', values, aggregator: 'sum' };
    },
  };
  register.registerMetric(metric as unknown as Metric);
}

export function counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
  return new Counter({ name, help, labelNames: [...labelNames] });
}

/** A histogram of seconds. */
export function histogram<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Histogram<L> {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60] });
}
