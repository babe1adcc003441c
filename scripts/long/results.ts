import type { Part } from './parts.ts';

/** How a part ended the last time that it ran to its end. */
export interface Result {
  readonly state: 'passed' | 'failed';
  readonly minutes: number;
  /** Day, `YYYY-MM-DD`. */
  readonly date: string;
  /** Key of the sources that it ran with. */
  readonly sources: string;
}

const BEGIN = '<!-- results: begin -->';
const END = '<!-- results: end -->';

/** The results that a page has, by the names of the parts. */
export function resultsIn(page: string): Map<string, Result> {
  const results = new Map<string, Result>();
  for (const line of tableIn(page).split('\n')) {
    const [, name = '', , state, minutes, date = '', sources = ''] = line.split('|').map((cell) => cell.trim());
    if (state === 'passed' || state === 'failed') results.set(name, { state, minutes: Number(minutes), date, sources });
  }
  return results;
}

/** The page with these results. */
export function withResults(page: string, parts: readonly Part[], results: ReadonlyMap<string, Result>): string {
  const rows = parts.map(({ name, shows }) => {
    const { state = 'not run', minutes = '', date = '', sources = '' } = results.get(name) ?? {};
    return `| ${[name, shows, state, minutes, date, sources].join(' | ')} |`;
  });
  const head = ['| Part | What it shows | Result | Minutes | Date | Sources |', '| --- | --- | --- | --- | --- | --- |'];
  return page.replace(`${BEGIN}${tableIn(page)}`, () => `${BEGIN}\n\n${[...head, ...rows].join('\n')}\n\n`);
}

/** @throws Error when the page has no place for the table */
function tableIn(page: string): string {
  const [, rest] = page.split(BEGIN);
  const [table, end] = rest?.split(END) ?? [];
  if (table === undefined || end === undefined) throw new Error(`the page lacks ${BEGIN} or ${END}`);
  return table;
}

/** What is to run: parts that have not passed with these sources. */
export function waiting(parts: readonly Part[], results: ReadonlyMap<string, Result>, sources: string, only = ''): Part[] {
  return parts.filter(({ name }) => {
    const result = results.get(name);
    return (only === '' || name === only) && !(result?.state === 'passed' && result.sources === sources);
  });
}
