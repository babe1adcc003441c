import fc from 'fast-check';
import { type Answered, check } from './history.ts';

const answered = (epochs: (number | undefined)[]): Answered[] =>
  epochs.flatMap((epoch, position) => (epoch === undefined ? [] : [{ epoch, position }]));
const rules = (history: Answered[], disk: (number | undefined)[]) => [...new Set(check(history, disk).map(({ rule }) => rule))].sort();

describe('check()', () => {
  it('accepts hosts that write one after the other', () => {
    expect(check(answered([1, 1, 2, 2, 2, 3]), [1, 1, 2, 2, 2, 3])).toStrictEqual([]);
  });

  it('accepts a last write of each epoch whose answer was lost', () => {
    expect(check(answered([1, undefined, 2, undefined]), [1, 1, 2, 2])).toStrictEqual([]);
  });

  it('accepts that the next host writes over a record that was never answered', () => {
    expect(check(answered([1, undefined, 2]), [1, 2, 2])).toStrictEqual([]);
  });

  const bad: [string, string[], Answered[], (number | undefined)[]][] = [
    ['an answered record that is not there', ['lost'], answered([1, 1]), [1]],
    ['a record that the old host wrote over', ['late', 'lost'], answered([1, 2, 2]), [1, 2, 1]],
    ['an old host that wrote behind the new one, unanswered', ['late'], answered([1, 2]), [1, 2, 1]],
    ['two hosts with one position answered', ['lost', 'twice'], [...answered([1, 2]), { epoch: 1, position: 1 }], [1, 2]],
    ['a hole', ['hole'], answered([1]), [1, undefined, 1]],
  ];
  for (const [what, wants, history, disk] of bad) {
    it(`finds ${what}`, () => expect(rules(history, disk)).toStrictEqual(wants));
  }

  /** Hosts that take turns, each writing some records; the last of each may be unanswered. */
  const turns = fc.array(fc.record({ records: fc.integer({ min: 1, max: 8 }), lastAnswered: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  });
  const play = (list: { records: number; lastAnswered: boolean }[]) => {
    const disk: number[] = [];
    const history: Answered[] = [];
    list.forEach(({ records, lastAnswered }, index) => {
      for (let i = 0; i < records; i++) {
        if (i < records - 1 || lastAnswered) history.push({ epoch: index + 1, position: disk.length });
        disk.push(index + 1);
      }
    });
    return { disk, history };
  };

  it('never blames hosts that take turns', () => {
    fc.assert(
      fc.property(turns, (list) => {
        const { disk, history } = play(list);
        expect(check(history, disk)).toStrictEqual([]);
      }),
    );
  });

  it('finds each write that comes late, wherever it lands', () => {
    fc.assert(
      fc.property(turns, fc.nat(), fc.nat(), (list, at, by) => {
        const { disk, history } = play(list);
        const position = at % (disk.length + 1);
        const newest = Math.max(0, ...disk.slice(0, position));
        fc.pre(newest > 1);
        const late = 1 + (by % (newest - 1));
        const after = [...disk];
        after[position] = late;
        expect(check(history, after).some(({ rule }) => rule === 'late' || rule === 'lost')).toBe(true);
      }),
    );
  });

  it('finds each answered record that is missing', () => {
    fc.assert(
      fc.property(turns, fc.nat(), (list, which) => {
        const { disk, history } = play(list);
        fc.pre(history.length > 0);
        const lost = history[which % history.length]?.position ?? 0;
        const after: (number | undefined)[] = [...disk];
        after[lost] = undefined;
        expect(check(history, after).some(({ rule, position }) => rule === 'lost' && position === lost)).toBe(true);
      }),
    );
  });
});
