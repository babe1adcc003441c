import type { AoEVolume } from '../../api/volume.ts';
import { Waits } from './waits.ts';

const MINUTE = 60_000;
const at = (minutes: number) => new Date(minutes * MINUTE).toISOString();
const volume = (phase: string, reason: string, since: number, uid = 'u-1'): AoEVolume =>
  ({
    metadata: { name: uid, uid, creationTimestamp: at(0) },
    spec: {},
    status: { phase, conditions: [{ type: 'Ready', status: phase === 'Ready' ? 'True' : 'False', reason, lastTransitionTime: at(since) }] },
  }) as never;

describe('how long volumes wait', () => {
  it('is told of the one that has waited longest, by reason', () => {
    const waits = new Waits(() => 90 * MINUTE);
    const volumes = [
      volume('Pending', 'NoEligibleNode', 80),
      volume('Pending', 'NoEligibleNode', 20, 'u-2'),
      volume('Pending', 'Waiting', 89, 'u-3'),
      volume('Failed', 'NoSuchPool', 1, 'u-4'),
      volume('Ready', 'Exported', 1, 'u-5'),
    ];
    expect([...waits.longest(volumes)]).toStrictEqual([
      ['NoEligibleNode', 4200],
      ['Waiting', 60],
    ]);
  });

  it('is nothing while a volume is wiped, however long that takes, nor does the wait after it count that time', () => {
    let now = 0;
    const waits = new Waits(() => now);
    const wiped = volume('Pending', 'Wiping', 0);
    waits.note({ type: 'applied', object: wiped });
    now = 90 * MINUTE;
    expect([...waits.longest([wiped])]).toStrictEqual([]);
    // Ready stays False, so its time is that of the beginning.
    const waiting = volume('Pending', 'Waiting', 0);
    waits.note({ type: 'applied', object: waiting, previous: wiped });
    now = 91 * MINUTE;
    expect([...waits.longest([waiting])]).toStrictEqual([['Waiting', 60]]);
  });

  it.each([
    ['Copying', 'copy'],
    ['Moving', 'move'],
  ])('of one that is %s is counted from when it has got ahead last', (reason, field) => {
    let now = 90 * MINUTE;
    const waits = new Waits(() => now);
    const copied = (bytesDone: number) => {
      const { status, ...rest } = volume('Pending', reason, 0);
      return { ...rest, status: { ...status, [field]: { phase: 'Copying', bytesDone } } } as never as AoEVolume;
    };
    let before = copied(0);
    waits.note({ type: 'applied', object: before });
    const longest = () => [...waits.longest([before])];
    for (const bytesDone of [1, 2, 2, 2]) {
      now += 20 * MINUTE;
      expect(longest()[0]?.[0]).toBe(reason);
      waits.note({ type: 'applied', object: copied(bytesDone), previous: before });
      before = copied(bytesDone);
    }
    expect(longest()).toStrictEqual([[reason, 2400]]);
  });

  it('goes on when its storage node is away for a moment, which changes the time of Ready', () => {
    let now = 10 * MINUTE;
    const waits = new Waits(() => now);
    let before = volume('Pending', 'Waiting', 5);
    waits.note({ type: 'applied', object: before });
    for (const [reason, minute] of [
      ['StorageNodeNotReady', 12],
      ['Waiting', 14],
    ] as const) {
      now = minute * MINUTE;
      const object = volume('Pending', reason, minute);
      waits.note({ type: 'applied', object, previous: before });
      before = object;
    }
    now = 25 * MINUTE;
    expect([...waits.longest([before])]).toStrictEqual([['Waiting', 1200]]);
  });

  it('goes on when only the reason changes, and begins again after a failure', () => {
    let now = 10 * MINUTE;
    const waits = new Waits(() => now);
    const failed = volume('Failed', 'NoSuchPool', 0);
    const first = volume('Pending', 'NoEligibleNode', 0);
    waits.note({ type: 'applied', object: first, previous: failed });
    now = 20 * MINUTE;
    const second = volume('Pending', 'NodesNotReady', 0);
    waits.note({ type: 'applied', object: second, previous: first });
    now = 30 * MINUTE;
    expect([...waits.longest([second])]).toStrictEqual([['NodesNotReady', 1200]]);
    waits.note({ type: 'deleted', object: second });
    expect([...waits.longest([second])], 'as far as its object tells').toStrictEqual([['NodesNotReady', 1800]]);
  });

  it('of a volume that nobody has looked at yet begins with its creation', () => {
    const { status: _, ...fresh } = volume('Pending', '', 0);
    expect([...new Waits(() => MINUTE).longest([fresh])]).toStrictEqual([['', 60]]);
  });
});
