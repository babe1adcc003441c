import { closingLine, exitCode, judge, NOTHING, ONE_FAILED, ONE_PASSED, sum } from './tally.ts';

describe('sum()', () => {
  it('adds up all suites', () => {
    expect(sum([{ passed: 3, failed: 0, skipped: 1 }, ONE_FAILED, ONE_PASSED])).toStrictEqual({ passed: 4, failed: 1, skipped: 1 });
  });

  it('is nothing without suites', () => {
    expect(sum([])).toStrictEqual(NOTHING);
  });
});

describe('judge()', () => {
  it('leaves a good tally as it is', () => {
    expect(judge({ passed: 5, failed: 0, skipped: 2 }, 0)).toStrictEqual({ passed: 5, failed: 0, skipped: 2 });
  });

  it('does not count a failure twice', () => {
    expect(judge({ passed: 5, failed: 2, skipped: 0 }, 1)).toStrictEqual({ passed: 5, failed: 2, skipped: 0 });
  });

  it('fails a suite whose program failed although no test did', () => {
    expect(judge({ passed: 5, failed: 0, skipped: 0 }, 101).failed).toBe(1);
  });

  it('fails a suite that ran no test', () => {
    expect(judge(NOTHING, 0).failed).toBe(1);
  });
});

describe('the closing line', () => {
  it('has both counts', () => {
    expect(closingLine({ passed: 12, failed: 3, skipped: 4 })).toBe('12 passed, 3 failed');
  });

  it('goes with exit code 0 only when something passed and nothing failed', () => {
    expect(exitCode(ONE_PASSED)).toBe(0);
    expect(exitCode(sum([ONE_PASSED, ONE_FAILED]))).toBe(1);
    expect(exitCode(NOTHING)).toBe(1);
    expect(exitCode({ passed: 0, failed: 0, skipped: 9 })).toBe(1);
  });
});
