import assert from 'node:assert/strict';
import { LOADS } from './loads.ts';
import { head, type Row, row, standing } from './table.ts';

const values: Row['values'] = { 'aoe-target': [100, 120, 110], vblade: [55, 50, 60], nbdkit: [100, 100] };
const load = (goal: Row['load']['goal'], less = false): Row => ({ load: { what: 'a load', unit: 'ms', goal, less }, values });

describe('standing()', () => {
  it('is over the best peer, or the one that is named', () => {
    expect(standing(load({ over: 'best', ratio: 1.2 }))).toStrictEqual({ peer: 'nbdkit', ratio: 1.1, met: false });
    expect(standing(load({ over: 'vblade', ratio: 1.2 }))).toStrictEqual({ peer: 'vblade', ratio: 2, met: true });
  });

  it('is the other way round where less is better', () => {
    expect(standing(load({ over: 'best', ratio: 1 }, true))).toStrictEqual({ peer: 'vblade', ratio: 0.5, met: false });
  });

  it('is beside the best peer where the goal is a limit', () => {
    expect(standing(load({ most: 110 }, true))).toStrictEqual({ peer: 'vblade', ratio: 0.5, met: true });
    expect(standing(load({ most: 109 }, true)).met).toBe(false);
  });

  it('is unknown without the peer', () => {
    expect(standing(load({ over: 'tgt', ratio: 1 }))).toStrictEqual({});
  });
});

describe('the table', () => {
  it('has a column for each target, measured or not', () => {
    const names = ['aoe-target', 'vblade', 'nbdkit', 'tgt'] as const;
    expect(head(names)).toBe('| load | aoe-target | vblade | nbdkit | tgt | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |');
    expect(row(load({ most: 100 }, true), names)).toBe('| a load (ms) | 110 | 55 | 100 | – | 0.50 (vblade) | ≤ 100 ms ✗ |');
    const [first] = LOADS;
    assert.ok(first);
    expect(row({ load: first, values }, names)).toBe('| 4 KiB random read, QD1 (IOPS) | 110 | 55 | 100 | – | 1.10 (nbdkit) | ≥ 1 ✓ |');
  });
});
