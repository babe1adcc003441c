import { type Measured, scaleTable } from './table.ts';

const OPERATOR: Measured = {
  empty: 80,
  full: 95,
  restarted: 99.6,
  ready: 1.26,
  change: { one: 2, all: 2.04 },
  report: { one: 0, all: 0.1 },
  idle: { one: 0.2, all: 0.3 },
};

describe('scaleTable', () => {
  test('has a row for each program, with the larger growth of memory', () => {
    const [head, , row] = scaleTable({ operator: OPERATOR }).split('\n');
    expect(head).toMatch(/^\| program \| RSS with none \|/);
    expect(row).toBe('| operator | 80 MiB | 95 MiB | 100 MiB | 20 MiB ✓ | 1.3 s ✓ | 2.0 → 2.0 ms | 0.0 → 0.1 ms | 0.2 → 0.3 % |');
  });

  test('marks goals that are missed', () => {
    const table = scaleTable({ operator: { ...OPERATOR, full: 101, ready: 10.1 } });
    expect(table).toContain('| 21 MiB ✗ | 10.1 s ✗ |');
  });
});
