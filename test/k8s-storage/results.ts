import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Outcome, suiteOf } from './report.ts';

/** The last outcome of a spec, and how often it failed before. */
export interface Result extends Outcome {
  failures: number;
}

/** Results of one suite and driver manifest, in a file that outlives a run: the next one goes on where this one ended. */
export class Results {
  readonly #path: string;
  readonly #key: string;
  readonly #results: Map<string, Result>;

  /** @param key changes when what was found before counts no longer */
  constructor(path: string, key: string) {
    this.#path = path;
    this.#key = key;
    this.#results = new Map(Object.entries(load(path, key)));
  }

  get(name: string): Result | undefined {
    return this.#results.get(name);
  }

  /** Adds outcomes and saves all. */
  add(outcomes: ReadonlyMap<string, Outcome>): void {
    for (const [name, outcome] of outcomes) {
      const failures = (this.get(name)?.failures ?? 0) + (outcome.state === 'failed' ? 1 : 0);
      this.#results.set(name, { ...outcome, failures });
    }
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(`${this.#path}.new`, JSON.stringify({ key: this.#key, results: Object.fromEntries(this.#results) }, undefined, 1));
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function load(path: string, key: string): Record<string, Result> {
  try {
    const saved: { key: string; results: Record<string, Result> } = JSON.parse(readFileSync(path, 'utf8'));
    return saved.key === key ? saved.results : {};
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

/** A Markdown table: for each part of the suite, how many specs passed, failed, were skipped, and have not run yet. */
export function table(names: readonly string[], results: Results): string {
  const count = (group: readonly string[], state: Outcome['state']) => group.filter((name) => results.get(name)?.state === state).length;
  const row = (name: string, group: readonly string[]) => {
    const waiting = group.filter((each) => !results.get(each)).length;
    return `| ${[name, count(group, 'passed'), count(group, 'failed'), count(group, 'skipped'), waiting].join(' | ')} |`;
  };
  const rows = [...Map.groupBy(names, suiteOf)].toSorted(([a], [b]) => a.localeCompare(b)).map(([name, group]) => row(name, group));
  return ['| Part | Passed | Failed | Skipped | Not run |', '| --- | --- | --- | --- | --- |', ...rows, row('**all**', names)].join('\n');
}

/** A Markdown table of the reasons why specs were skipped. */
export function skipTable(names: readonly string[], results: Results): string {
  const skipped = names.flatMap((name) => {
    const result = results.get(name);
    return result?.state === 'skipped' ? result.message : [];
  });
  const reasons = [...Map.groupBy(skipped, (message) => message)].toSorted(([, a], [, b]) => b.length - a.length);
  return [
    '| Skipped | Why, in the words of the suite |',
    '| --- | --- |',
    ...reasons.map(([why, all]) => `| ${all.length} | ${cell(why)} |`),
  ].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
