import fc from 'fast-check';
import { median, medians } from './statistics.ts';

describe('median()', () => {
  it('is the middle value, or the mean of the two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBe(Number.NaN);
  });

  it('has as many values below as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values);
        expect(values.filter((value) => value < middle).length).toBeLessThanOrEqual(values.length / 2);
        expect(values.filter((value) => value > middle).length).toBeLessThanOrEqual(values.length / 2);
      }),
    );
  });
});

describe('medians()', () => {
  it('takes each number by itself', () => {
    expect(
      medians([
        { iops: 1, p99: 30 },
        { iops: 2, p99: 10 },
        { iops: 3, p99: 20 },
      ]),
    ).toStrictEqual({ iops: 2, p99: 20 });
    expect(() => medians([])).toThrow(RangeError);
  });
});
