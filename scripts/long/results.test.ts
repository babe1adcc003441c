import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../suites/suite.ts';
import { PARTS, type Part } from './parts.ts';
import { type Result, resultsIn, waiting, withResults } from './results.ts';

const parts = ['a', 'b'].map((name): Part => ({ name, shows: `${name} works`, usually: '', argv: [], env: {}, limitMinutes: 1 }));
const PAGE = 'before\n<!-- results: begin -->\n<!-- results: end -->\nafter\n';
const passed: Result = { state: 'passed', minutes: 12, date: '2026-11-28', sources: 'aaa' };

describe('the results of long tests', () => {
  it('are read from the page as they were written, and the rest of the page stays', () => {
    const page = withResults(PAGE, parts, new Map([['a', passed]]));
    expect(page).toContain('| b | b works | not run |  |  |  |');
    expect(resultsIn(page)).toStrictEqual(new Map([['a', passed]]));
    expect(page.replace(/<!-- results: begin -->.*<!-- results: end -->/s, '')).toBe('before\n\nafter\n');
    expect(withResults(page, parts, resultsIn(page))).toBe(page);
  });

  it('have a part run again when it failed, when the sources are others, and when it has not run', () => {
    const names = (results: [string, Result][], only?: string) => waiting(parts, new Map(results), 'aaa', only).map(({ name }) => name);
    expect(names([['a', passed]])).toStrictEqual(['b']);
    expect(names([['a', { ...passed, state: 'failed' }]])).toStrictEqual(['a', 'b']);
    expect(names([['a', { ...passed, sources: 'bbb' }]])).toStrictEqual(['a', 'b']);
    expect(names([], 'b')).toStrictEqual(['b']);
  });

  it('are refused by a page without a place for them', () => {
    expect(() => resultsIn('nothing')).toThrow('lacks');
  });

  it('have a row of each part in docs/long-tests.md', () => {
    const page = readFileSync(join(ROOT, 'docs/long-tests.md'), 'utf8');
    expect(withResults(page, PARTS, resultsIn(page))).toBe(page);
  });
});
