import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Outcome } from './report.ts';
import { Results, skipTable, table } from './results.ts';

const name = (suite: string, text: string) => `External Storage [Driver: aoe.dev] [Testpattern: Dynamic PV (ext4)] ${suite} ${text}`;
const outcome = (state: Outcome['state'], message = ''): Outcome => ({ state, seconds: 1, message });

describe('Results', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-results-'));
  const path = join(folder, 'results.json');
  afterAll(() => rmSync(folder, { recursive: true }));

  it('has in the next run what was found in this one, and counts failures', () => {
    new Results(path, 'key').add(new Map([['a', outcome('failed', 'slow')]]));
    new Results(path, 'key').add(new Map([['a', outcome('passed')]]));
    expect(new Results(path, 'key').get('a')).toStrictEqual({ ...outcome('passed'), failures: 1 });
  });

  it('forgets all when the key has changed', () => {
    expect(new Results(path, 'other').get('a')).toBeUndefined();
  });

  it('counts the outcomes of each part, and the reasons of skips', () => {
    const names = [name('volumes', 'a'), name('volumes', 'b'), name('subPath', 'c'), name('subPath', 'd')];
    const results = new Results(path, 'table');
    const outcomes = [outcome('passed'), outcome('failed'), outcome('skipped', 'no | here')];
    results.add(new Map(outcomes.map((each, i) => [names[i] ?? '', each])));
    expect(table(names, results).split('\n').slice(2)).toStrictEqual([
      '| subPath | 0 | 0 | 1 | 1 |',
      '| volumes | 1 | 1 | 0 | 0 |',
      '| **all** | 1 | 1 | 1 | 1 |',
    ]);
    expect(skipTable(names, results).split('\n').slice(2)).toStrictEqual(['| 1 | no \\| here |']);
  });
});
