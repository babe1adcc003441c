import type { Spent } from './cpu.ts';
import type { Results } from './results.ts';
import { rate, ratio, rows, table, untilAll } from './table.ts';
import type { Arrivals } from './timeline.ts';

const all = (...seconds: number[]): Arrivals => ({ of: seconds.length, seconds, waited: seconds.at(-1) ?? 0 });
const idle: Spent = { wall: 20, cpu: { 'aoe-csi/csi-node': 1, 'bench-nothing/csi-node': 0 }, restarts: {} };
const used = (cpu: Spent['cpu']): Spent => ({ wall: 40, cpu, restarts: {} });
const results: Results = {
  one: {
    none: [{ 'pod ready': all(1) }, { 'pod ready': all(3) }],
    nothing: [{ 'pod ready': all(4), 'claim bound': all(1) }],
    lvm: [{ 'pod ready': all(8), 'claim bound': all(2) }],
  },
  atOnce: [
    { phase: 'claims', n: 2, subject: 'nothing', times: { 'claim bound': all(0.25, 0.5) }, spent: used({}) },
    { phase: 'claims', n: 2, subject: 'lvm', times: { 'claim bound': all(0.5, 1) }, spent: used({}) },
    { phase: 'pods', n: 2, subject: 'nothing', times: { 'pod ready': all(5, 10) }, spent: used({ 'bench-nothing/csi-node': 1 }) },
    { phase: 'pods', n: 2, subject: 'lvm', times: { 'pod ready': all(6, 11) }, spent: used({ 'aoe-csi/csi-node': 6 }) },
  ],
  idle,
  whole: { wall: 90, cpu: {}, restarts: { 'aoe-csi/csi-attacher': 2, 'bench-nothing/csi-node': 1 } },
  lvm: { made: 4, removed: 5 },
};

describe('untilAll() and rate()', () => {
  it('count until the last has come', () => {
    expect(untilAll(all(1, 4))).toBe(4);
    expect(rate(all(1, 4))).toBe(0.5);
  });

  it('give a text when not all came, and nothing for what was not measured', () => {
    const some: Arrivals = { of: 50, seconds: [1, 2], waited: 480.4 };
    expect(untilAll(some)).toBe('2 of 50 in 480 s');
    expect(rate(some)).toBe('2 of 50 in 480 s');
    expect(untilAll(undefined)).toBeUndefined();
    expect(rate(undefined)).toBeUndefined();
  });
});

describe('ratio()', () => {
  it('is to the do-nothing driver, and is not there when one of both has no number', () => {
    const row = { what: '', unit: 's', values: { none: 1, nothing: 2, lvm: 6, file: '1 of 2 in 3 s' } };
    expect(ratio(row, 'lvm')).toBe(3);
    expect(ratio(row, 'file')).toBeUndefined();
  });
});

describe('table()', () => {
  const text = table(rows(results));
  const line = (start: string) => text.split('\n').find((each) => each.startsWith(`| ${start}`));

  it('has medians of the rounds, and what a claim adds to a pod', () => {
    expect(line('one: pod Ready')).toBe('| one: pod Ready (s) | 2 | 4 | 8 | – | 2 | – |  |');
    expect(line('one: what the claim adds')).toBe('| one: what the claim adds to that (s) | – | 2 | 6 | – | 3 | – |  |');
  });

  it('has rates and times beside their goals', () => {
    expect(line('2 claims at once: Bound (1/s)')).toBe('| 2 claims at once: Bound (1/s) | – | 4 | 2 | – | 0.50 | – | ≥ 0.9 ✗ |');
    expect(line('2 pods at once: all Ready')).toBe('| 2 pods at once: all Ready (s) | – | 10 | 11 | – | 1.10 | – | ≤ 1.2 ✓ |');
    expect(line('2 claims at once: Bound, share of bare') ?? '').toMatch(/\| 0\.50 \|/);
  });

  it('has CPU time for each pod, without what is used when nothing is done', () => {
    // 6 s, less 1 s in 20 of 40 s, for two pods; the do-nothing driver 1 s for two.
    expect(line('CPU, 2 pods: node plugin')).toBe('| CPU, 2 pods: node plugin for each pod (s) | – | 0.50 | 2 | – | 4 | – |  |');
  });

  it('has the restarts of the whole run, of ours together', () => {
    expect(line('restarts')).toBe('| restarts of containers, in the whole run | – | 1 | 2 | – | 2 | – |  |');
  });

  it('leaves out what was not measured', () => {
    expect(line('one: pod gone')).toBeUndefined();
  });
});
