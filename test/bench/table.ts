import type { Result } from './initiator.ts';
import type { Goal, Load } from './loads.ts';
import type { Target } from './targets.ts';

type Name = Target['name'];
export type Medians = Partial<Record<Name, Pick<Result, 'iops' | 'cpuPerRequest' | 'p50' | 'p99'>>>;

export interface Reached {
  goal: Goal;
  /** The peer it is over. */
  peer: Name;
  ratio: number;
  met: boolean;
}

/** How ours stands to a goal; undefined when no such peer was measured. */
export function reached(goal: Goal, medians: Medians): Reached | undefined {
  const value = (name: Name) => medians[name]?.[goal.metric];
  const own = value('aoe-target');
  const peers = (['vblade', 'ggaoed'] as const)
    .filter((name) => goal.over === 'best' || goal.over === name)
    .flatMap((name) => {
      const measured = value(name);
      return own === undefined || measured === undefined ? [] : [{ peer: name, ratio: own / measured }];
    });
  // The best peer is the one that makes us look worst.
  const more = goal.metric === 'iops';
  const hardest = peers.toSorted((a, b) => (more ? a.ratio - b.ratio : b.ratio - a.ratio))[0];
  return hardest && { goal, ...hardest, met: more ? hardest.ratio >= goal.ratio : hardest.ratio <= goal.ratio };
}

const NAMES: readonly Name[] = ['aoe-target', 'vblade', 'ggaoed'];
const LABELS = { iops: 'IOPS', cpuPerRequest: 'CPU' } as const;

const thousands = (value: number | undefined) =>
  value === undefined ? '–' : value >= 10_000 ? `${(value / 1000).toFixed(0)}k` : `${(value / 1000).toFixed(1)}k`;
const micros = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(1));

/** A Markdown table: IOPS of each target, ratios beside their goals, latency and CPU time of ours and the best peer's. */
export function table(rows: readonly { load: Load; medians: Medians }[]): string {
  const head = ['load', ...NAMES.map((name) => `${name} IOPS`), 'ratio', 'goal', 'p50 / p99 µs', 'CPU µs per I/O: ours, vblade, ggaoed'];
  const lines = rows.map(({ load, medians }) => {
    const goals = load.goals.map((goal) => ({ goal, is: reached(goal, medians) }));
    const ratio = goals.map(({ goal, is }) => (is ? `${LABELS[goal.metric]} ${is.ratio.toFixed(2)} (${is.peer})` : '–'));
    const wanted = goals.map(({ goal, is }) => {
      const bound = `${goal.metric === 'iops' ? '≥' : '≤'} ${goal.ratio}`;
      return is ? `${bound} ${is.met ? '✓' : '✗'}` : bound;
    });
    const own = medians['aoe-target'];
    return [
      load.title,
      ...NAMES.map((name) => thousands(medians[name]?.iops)),
      ratio.join('<br>'),
      wanted.join('<br>'),
      `${micros(own?.p50)} / ${micros(own?.p99)}`,
      NAMES.map((name) => micros(medians[name]?.cpuPerRequest)).join(', '),
    ];
  });
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n');
}
