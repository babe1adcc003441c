import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { ROOT } from '../docs/pages.ts';

const PAGE = readFileSync(join(ROOT, 'docs/monitoring.md'), 'utf8');
const NAMES = [...PAGE.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, names = '']) => names.match(/\w+/g) ?? []);

/** Metrics that docs/monitoring.md describes, with the series of the histograms; another test compares that page with what the programs export. */
export const DOCUMENTED: ReadonlySet<string> = new Set(
  NAMES.flatMap((name) => [name, ...['_bucket', '_count', '_sum'].map((end) => name + end)]),
);

/** Names of the metrics of an expression. @throws Error when it is no PromQL */
export function metricsOf(expression: string): string[] {
  const names: string[] = [];
  parser.parse(expression).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) throw new Error(`no PromQL at ${from}: ${expression}`);
      if (type.name === 'VectorSelector') names.push(/^\w*/.exec(expression.slice(from, to))?.[0] ?? '');
    },
  });
  return names;
}
