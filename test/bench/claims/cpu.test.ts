import { parseCounters, type Reading, spent } from './cpu.ts';

const [A, B] = ['a'.repeat(64), 'b'.repeat(64)];

describe('parseCounters()', () => {
  it('finds containers in all classes of pods, and leaves out the pods themselves', () => {
    const text = [
      `pod1/${A}/cpu.stat:usage_usec 1500000`,
      `burstable/pod2/${B}/cpu.stat:usage_usec 20`,
      'burstable/pod2/cpu.stat:usage_usec 99',
    ].join('\n');
    expect([...parseCounters(text)]).toStrictEqual([
      [A, 1.5],
      [B, 0.00002],
    ]);
  });
});

describe('spent()', () => {
  const reading = (atMs: number, restarts: number, ...used: [string, number][]): Reading => ({
    atMs,
    restarts: { 'aoe-csi/agent': restarts },
    containers: new Map(used.map(([id, seconds]) => [id, { part: 'aoe-csi/agent', seconds }])),
  });

  it('sums the containers of a part', () => {
    const before = reading(0, 0, [A, 1], [B, 2]);
    expect(spent(before, reading(2000, 0, [A, 2], [B, 5]))).toStrictEqual({ wall: 2, cpu: { 'aoe-csi/agent': 4 }, restarts: {} });
  });

  it('counts what a container that was started meanwhile has used since', () => {
    expect(spent(reading(0, 3, [A, 9]), reading(1000, 4, [B, 0.5]))).toStrictEqual({
      wall: 1,
      cpu: { 'aoe-csi/agent': 0.5 },
      restarts: { 'aoe-csi/agent': 1 },
    });
  });
});
