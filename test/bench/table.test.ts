import assert from 'node:assert/strict';
import { chosen, LOADS } from './loads.ts';
import { type Medians, reached, table } from './table.ts';

const result = (iops: number, cpuPerRequest: number) => ({ iops, cpuPerRequest, p50: 1, p99: 2 });
const medians: Medians = { 'aoe-target': result(240_000, 3), vblade: result(120_000, 6), ggaoed: result(160_000, 3.5) };

describe('reached()', () => {
  it('compares with the best peer', () => {
    const goal = { metric: 'iops', over: 'best', ratio: 1.35 } as const;
    expect(reached(goal, medians)).toStrictEqual({ goal, peer: 'ggaoed', ratio: 1.5, met: true });
  });

  it('compares with the peer that is named', () => {
    const goal = { metric: 'iops', over: 'vblade', ratio: 3 } as const;
    expect(reached(goal, medians)).toStrictEqual({ goal, peer: 'vblade', ratio: 2, met: false });
  });

  it('wants CPU time to be less than that of the peer that needs least', () => {
    const goal = { metric: 'cpuPerRequest', over: 'best', ratio: 0.75 } as const;
    expect(reached(goal, medians)?.peer).toBe('ggaoed');
    expect(reached(goal, medians)?.met).toBe(false);
  });

  it('says nothing of a peer that was not measured', () => {
    expect(reached({ metric: 'iops', over: 'ggaoed', ratio: 1 }, { 'aoe-target': result(1, 1) })).toBeUndefined();
  });
});

describe('table()', () => {
  it('has goals beside ratios', () => {
    const [load] = LOADS;
    assert.ok(load);
    const row = table([{ load, medians }]).split('\n').at(-1);
    expect(row).toBe(
      '| 4 KiB random read, 64 outstanding | 240k | 120k | 160k | IOPS 1.50 (ggaoed)<br>CPU 0.86 (ggaoed) | ≥ 1.35 ✓<br>≤ 0.75 ✗ | 1.0 / 2.0 | 3.0, 6.0, 3.5 |',
    );
  });
});

describe('chosen()', () => {
  it('takes the loads whose names have a word, or all', () => {
    expect(chosen(['b', 'x'], ['ab', 'cd', 'xy'])).toStrictEqual(['ab', 'xy']);
    expect(chosen([], ['ab', 'cd'])).toStrictEqual(['ab', 'cd']);
    expect(() => chosen(['z'], ['ab'])).toThrow(/no load is called "z"; there are ab/);
  });
});
