import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chosen, LOADS } from './loads.ts';
import { type Medians, reached, table } from './table.ts';

const result = (iops: number, cpuPerRequest: number) => ({ iops, cpuPerRequest, p50: 1, p99: 2 });
const medians: Medians = { 'aoe-target': result(240_000, 3), vblade: result(120_000, 6), ggaoed: result(160_000, 3.5) };

describe('reached()', () => {
  it('compares with the best peer', () => {
    const goal = { metric: 'iops', over: 'best', ratio: 1.35 } as const;
    assert.deepEqual(reached(goal, medians), { goal, peer: 'ggaoed', ratio: 1.5, met: true });
  });

  it('compares with the peer that is named', () => {
    const goal = { metric: 'iops', over: 'vblade', ratio: 3 } as const;
    assert.deepEqual(reached(goal, medians), { goal, peer: 'vblade', ratio: 2, met: false });
  });

  it('wants CPU time to be less than that of the peer that needs least', () => {
    const goal = { metric: 'cpuPerRequest', over: 'best', ratio: 0.75 } as const;
    assert.equal(reached(goal, medians)?.peer, 'ggaoed');
    assert.equal(reached(goal, medians)?.met, false);
  });

  it('says nothing of a peer that was not measured', () => {
    assert.equal(reached({ metric: 'iops', over: 'ggaoed', ratio: 1 }, { 'aoe-target': result(1, 1) }), undefined);
  });
});

describe('table()', () => {
  it('has goals beside ratios', () => {
    const [load] = LOADS;
    assert.ok(load);
    const row = table([{ load, medians }]).split('\n').at(-1);
    assert.equal(
      row,
      '| 4 KiB random read, 64 outstanding | 240k | 120k | 160k | IOPS 1.50 (ggaoed)<br>CPU 0.86 (ggaoed) | ≥ 1.35 ✓<br>≤ 0.75 ✗ | 1.0 / 2.0 | 3.0, 6.0, 3.5 |',
    );
  });
});

describe('chosen()', () => {
  it('takes the loads whose names have a word, or all', () => {
    assert.deepEqual(chosen(['b', 'x'], ['ab', 'cd', 'xy']), ['ab', 'xy']);
    assert.deepEqual(chosen([], ['ab', 'cd']), ['ab', 'cd']);
    assert.throws(() => chosen(['z'], ['ab']), /no load is called "z"; there are ab/);
  });
});
