import { median } from '../statistics.ts';
import type { Load } from './loads.ts';
import type { Name } from './peer.ts';

export interface Row {
  load: Pick<Load, 'what' | 'unit' | 'goal' | 'less'>;
  /** Of each round. */
  values: Partial<Record<Name, number[]>>;
}

const OURS = 'aoe-target';

/** How many times better ours is than the peer of the goal, which for a limit is the best; and whether the goal is reached. */
export function standing({ load: { goal, less = false }, values }: Row): { peer?: Name; ratio?: number; met?: boolean } {
  const { [OURS]: own = [], ...others } = values;
  const better = (theirs: number) => (less ? theirs / median(own) : median(own) / theirs);
  const ratios = (Object.entries(others) as [Name, number[]][]).map(([peer, list]) => ({ peer, ratio: better(median(list)) }));
  const over = 'over' in goal && goal.over !== 'best' ? goal.over : undefined;
  const [hardest] = ratios.filter(({ peer }) => !over || peer === over).toSorted((a, b) => a.ratio - b.ratio);
  if ('most' in goal) return { ...hardest, met: median(own) <= goal.most };
  return hardest ? { ...hardest, met: hardest.ratio >= goal.ratio } : {};
}

/** A line of a Markdown table. */
export const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** The head of the table of these targets. */
export const head = (names: readonly Name[]): string =>
  [line(['load', ...names, 'ratio', 'goal']), line([...names, '', '', ''].map(() => '---'))].join('\n');

/** A load's row: medians, how ours stands to the peer that the goal is over, and the goal. */
export function row(given: Row, names: readonly Name[]): string {
  const { load, values } = given;
  const { peer, ratio, met } = standing(given);
  const bound = 'most' in load.goal ? `≤ ${load.goal.most} ${load.unit}` : `≥ ${Number(load.goal.ratio.toFixed(2))}`;
  const cells = names.map((name) => (values[name] ? Math.round(median(values[name])).toString() : '–'));
  const stands = ratio === undefined ? '–' : `${ratio.toFixed(2)} (${peer})`;
  return line([`${load.what} (${load.unit})`, ...cells, stands, met === undefined ? bound : `${bound} ${met ? '✓' : '✗'}`]);
}
