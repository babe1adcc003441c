/** Measured of one program. Memory is resident set size in MiB. */
export interface Measured {
  /** Memory without any volume. */
  readonly empty: number;
  /** Memory once all volumes are made. */
  readonly full: number;
  /** Memory when the program was started again, with all volumes there. */
  readonly restarted: number;
  /** Seconds until it was ready again. */
  readonly ready: number;
  /** Milliseconds of CPU time for a change of one volume, with one volume, and with all. */
  readonly change: Pair;
  /** The same for a report about another node, such as how many volumes its target serves. */
  readonly report: Pair;
  /** Percent of a CPU while nothing changes. */
  readonly idle: Pair;
}

export interface Pair {
  readonly one: number;
  readonly all: number;
}

/** By program. */
export type Results = Readonly<Record<string, Measured>>;

/** Goals: MiB above the memory without volumes; seconds. */
const MEMORY_GOAL = 20;
const READY_GOAL = 10;

/** The results as a table in Markdown, a row for each program. */
export function scaleTable(results: Results): string {
  const columns = [
    'program',
    'RSS with none',
    'with all',
    'after restart',
    'more',
    'ready after',
    'change of a volume',
    'report of a node',
    'idle',
  ];
  const rows = Object.entries(results).map(([program, { empty, full, restarted, ready, change, report, idle }]) => {
    const more = Math.max(full, restarted) - empty;
    return [
      program,
      ...[empty, full, restarted].map((mib) => `${mib.toFixed(0)} MiB`),
      `${more.toFixed(0)} MiB ${mark(more <= MEMORY_GOAL)}`,
      `${ready.toFixed(1)} s ${mark(ready <= READY_GOAL)}`,
      pair(change, 'ms'),
      pair(report, 'ms'),
      pair(idle, '%'),
    ];
  });
  return [columns, columns.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function pair({ one, all }: Pair, unit: string): string {
  return `${one.toFixed(1)} → ${all.toFixed(1)} ${unit}`;
}

function mark(isReached: boolean): string {
  return isReached ? '✓' : '✗';
}
