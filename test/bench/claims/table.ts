import { median } from '../statistics.ts';
import { perThing } from './cpu.ts';
import type { AtOnce, Column, Results } from './results.ts';
import type { Arrivals, State } from './timeline.ts';

/** A ratio to the do-nothing driver of the same run: at least this for a rate, at most this for a time. */
export interface Goal {
  readonly ratio: number;
  readonly most?: boolean;
}

export interface Row {
  readonly what: string;
  readonly unit: string;
  /** A text stands for what has no number, such as "29 of 50 in 480 s". */
  readonly values: Readonly<Partial<Record<Column, number | string>>>;
  readonly goal?: Goal;
}

const COLUMNS = ['none', 'nothing', 'lvm', 'file'] as const satisfies readonly Column[];
const DRIVERS = ['nothing', 'lvm', 'file'] as const satisfies readonly Column[];
const TITLES: Record<Column, string> = { none: 'no volume', nothing: 'do-nothing driver', lvm: 'pool lvm', file: 'pool file' };

/** Seconds until the last came; a text when some never did. */
export function untilAll(arrivals: Arrivals | undefined): number | string | undefined {
  if (!arrivals) return undefined;
  const { of, seconds, waited } = arrivals;
  return seconds.length < of ? `${seconds.length} of ${of} in ${waited.toFixed(0)} s` : seconds.at(-1);
}

/** How many came a second until the last came; a text when some never did. */
export function rate(arrivals: Arrivals | undefined): number | string | undefined {
  const all = untilAll(arrivals);
  return typeof all === 'number' ? (arrivals?.of ?? 0) / all : all;
}

/** Median of the rounds in which it came. */
function usual(rounds: Results['one'][Column], state: State): number | undefined {
  const seconds = (rounds ?? []).flatMap((times) => times[state]?.seconds ?? []);
  return seconds.length === 0 ? undefined : median(seconds);
}

/** A value for each column that has one. */
function values(columns: readonly Column[], ask: (column: Column) => number | string | undefined): Row['values'] {
  const found = columns.flatMap((column) => {
    const value = ask(column);
    return value === undefined ? [] : [[column, value] as const];
  });
  return Object.fromEntries(found);
}

function oneAtATime({ one }: Results): Row[] {
  const row = (what: string, state: State, goal?: Goal): Row => ({
    what: `one: ${what}`,
    unit: 's',
    values: values(COLUMNS, (column) => usual(one[column], state)),
    ...(goal ? { goal } : {}),
  });
  const ready = row('pod Ready', 'pod ready');
  const { none } = ready.values;
  const added = values(DRIVERS, (column) => {
    const with_ = ready.values[column];
    return typeof with_ === 'number' && typeof none === 'number' ? with_ - none : undefined;
  });
  return [
    ready,
    { what: 'one: what the claim adds to that', unit: 's', values: added },
    row('claim Bound', 'claim bound'),
    row('pod gone', 'pod gone'),
    row('volume gone', 'volume gone'),
  ];
}

const RATE: Goal = { ratio: 0.9 };

function manyAtOnce({ atOnce, lvm }: Results): Row[] {
  const counts = [...new Set(atOnce.map(({ n }) => n))];
  return counts.flatMap((n) => {
    const row = (phase: AtOnce['phase'], what: string, state: State, of: typeof rate, goal?: Goal): Row => ({
      what: `${n} ${phase} at once: ${what}`,
      unit: of === rate ? '1/s' : 's',
      values: values(COLUMNS, (column) => {
        const found = atOnce.find((each) => each.n === n && each.phase === phase && each.subject === column);
        return of(found?.times[state]);
      }),
      ...(goal ? { goal } : {}),
    });
    const bound = row('claims', 'Bound', 'claim bound', rate, RATE);
    const bare = typeof bound.values.lvm === 'number' && lvm ? { lvm: bound.values.lvm / lvm.made } : {};
    return [
      bound,
      { what: `${n} claims at once: Bound, share of bare lvcreate and lvchange`, unit: '', values: bare },
      row('claims', 'deleted, volumes gone', 'volume gone', rate, RATE),
      row('pods', 'Bound', 'claim bound', rate),
      row('pods', 'all Ready', 'pod ready', untilAll, { ratio: 1.2, most: true }),
      row('pods', 'deleted, pods gone', 'pod gone', untilAll),
      row('pods', 'deleted, volumes gone', 'volume gone', untilAll),
    ];
  });
}

/** Name of the parts of a subject in a reading of CPU times. */
const APP = (column: Column): string => (column === 'nothing' ? 'bench-nothing' : 'aoe-csi');

function cpuTimes({ atOnce, idle }: Results): Row[] {
  // The largest number at once: what is used for each is less disturbed there.
  const largest = Math.max(...atOnce.map(({ n }) => n));
  const row = (phase: AtOnce['phase'], what: string, parts: readonly string[]): Row => ({
    what: `CPU, ${largest} ${phase}: ${what}`,
    unit: 's',
    values: values(DRIVERS, (column) => {
      const found = atOnce.find((each) => each.n === largest && each.phase === phase && each.subject === column);
      return (
        found &&
        perThing(
          found.spent,
          idle,
          parts.map((part) => `${APP(column)}/${part}`),
          largest,
        )
      );
    }),
  });
  return [
    row('pods', 'node plugin for each pod', ['csi-node']),
    row('pods', 'agent, target for each pod', ['agent', 'target']),
    row('pods', 'operator, CSI controller for each pod', ['operator', 'csi-controller']),
    row('claims', 'agent for each claim', ['agent']),
    row('claims', 'operator for each claim', ['operator']),
    row('claims', 'CSI controller for each claim', ['csi-controller']),
    row('claims', 'both sidecars for each claim', ['csi-provisioner', 'csi-attacher']),
  ];
}

/** Facts about the whole run; those of our parts stand in the column of pool lvm. */
function facts({ lvm, idle, whole }: Results): Row[] {
  const sum = (numbers: Readonly<Record<string, number>>, app: string) =>
    Object.entries(numbers).reduce((total, [part, value]) => (part.startsWith(`${app}/`) ? total + value : total), 0);
  const of = (numbers: Readonly<Record<string, number>>, factor = 1) =>
    values(['nothing', 'lvm'], (column) => sum(numbers, APP(column)) * factor);
  return [
    { what: 'restarts of containers, in the whole run', unit: '', values: of(whole.restarts) },
    { what: 'CPU of all parts while nothing is done', unit: '% of a CPU', values: of(idle.cpu, 100 / idle.wall) },
    ...(lvm
      ? [
          { what: 'bare lvcreate and lvchange, one after the other', unit: '1/s', values: { lvm: lvm.made } },
          { what: 'bare lvremove, one after the other', unit: '1/s', values: { lvm: lvm.removed } },
        ]
      : []),
  ];
}

export function rows(results: Results): Row[] {
  return [oneAtATime, manyAtOnce, cpuTimes, facts].flatMap((part) => part(results)).filter((row) => Object.keys(row.values).length > 0);
}

/** The ratio to the do-nothing driver. */
export function ratio({ values: { nothing, ...others } }: Row, column: 'lvm' | 'file'): number | undefined {
  const own = others[column];
  return typeof own === 'number' && typeof nothing === 'number' && nothing > 0 ? own / nothing : undefined;
}

function cell(value: number | string | undefined): string {
  if (value === undefined) return '–';
  if (typeof value === 'string') return value;
  if (Number.isInteger(value)) return String(value);
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

function goalCell({ goal }: Row, reached: number | undefined): string {
  if (!goal) return '';
  const bound = `${goal.most ? '≤' : '≥'} ${goal.ratio}`;
  if (reached === undefined) return bound;
  return `${bound} ${(goal.most ? reached <= goal.ratio : reached >= goal.ratio) ? '✓' : '✗'}`;
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** A Markdown table. The goal is that of pool lvm. */
export function table(all: readonly Row[]): string {
  const head = ['', ...COLUMNS.map((column) => TITLES[column]), 'lvm : do-nothing', 'file : do-nothing', 'goal (lvm)'];
  const lines = all.map((row) => {
    const [lvm, file] = [ratio(row, 'lvm'), ratio(row, 'file')];
    const what = row.unit === '' ? row.what : `${row.what} (${row.unit})`;
    return [what, ...COLUMNS.map((column) => cell(row.values[column])), cell(lvm), cell(file), goalCell(row, lvm)];
  });
  return [line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n');
}
