import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { median, medians } from './statistics.ts';

describe('median()', () => {
  it('is the middle value, or the mean of the two', () => {
    assert.equal(median([9, 1, 5]), 5);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.equal(median([]), Number.NaN);
  });

  it('has as many values below as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values);
        assert.ok(values.filter((value) => value < middle).length <= values.length / 2);
        assert.ok(values.filter((value) => value > middle).length <= values.length / 2);
      }),
    );
  });
});

describe('medians()', () => {
  it('takes each number by itself', () => {
    assert.deepEqual(
      medians([
        { iops: 1, p99: 30 },
        { iops: 2, p99: 10 },
        { iops: 3, p99: 20 },
      ]),
      { iops: 2, p99: 20 },
    );
    assert.throws(() => medians([]), RangeError);
  });
});
