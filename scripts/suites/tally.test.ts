import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closingLine, exitCode, judge, NOTHING, ONE_FAILED, ONE_PASSED, sum } from './tally.ts';

describe('sum()', () => {
  it('adds up all suites', () => {
    assert.deepEqual(sum([{ passed: 3, failed: 0, skipped: 1 }, ONE_FAILED, ONE_PASSED]), { passed: 4, failed: 1, skipped: 1 });
  });

  it('is nothing without suites', () => {
    assert.deepEqual(sum([]), NOTHING);
  });
});

describe('judge()', () => {
  it('leaves a good tally as it is', () => {
    assert.deepEqual(judge({ passed: 5, failed: 0, skipped: 2 }, 0), { passed: 5, failed: 0, skipped: 2 });
  });

  it('does not count a failure twice', () => {
    assert.deepEqual(judge({ passed: 5, failed: 2, skipped: 0 }, 1), { passed: 5, failed: 2, skipped: 0 });
  });

  it('fails a suite whose program failed although no test did', () => {
    assert.equal(judge({ passed: 5, failed: 0, skipped: 0 }, 101).failed, 1);
  });

  it('fails a suite that ran no test', () => {
    assert.equal(judge(NOTHING, 0).failed, 1);
  });
});

describe('the closing line', () => {
  it('has both counts', () => {
    assert.equal(closingLine({ passed: 12, failed: 3, skipped: 4 }), '12 passed, 3 failed');
  });

  it('goes with exit code 0 only when something passed and nothing failed', () => {
    assert.equal(exitCode(ONE_PASSED), 0);
    assert.equal(exitCode(sum([ONE_PASSED, ONE_FAILED])), 1);
    assert.equal(exitCode(NOTHING), 1);
    assert.equal(exitCode({ passed: 0, failed: 0, skipped: 9 }), 1);
  });
});
