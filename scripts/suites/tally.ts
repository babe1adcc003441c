/** What a suite of tests came to. */
export interface Tally {
  passed: number;
  failed: number;
  /** Neither of both: the machine or the build lacks what the test needs. */
  skipped: number;
}

export const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 };
export const ONE_PASSED: Tally = { passed: 1, failed: 0, skipped: 0 };
export const ONE_FAILED: Tally = { passed: 0, failed: 1, skipped: 0 };

export function sum(tallies: Tally[]): Tally {
  return tallies.reduce(
    (total, each) => ({
      passed: total.passed + each.passed,
      failed: total.failed + each.failed,
      skipped: total.skipped + each.skipped,
    }),
    NOTHING,
  );
}

/**
 * A suite's tally, set right by how its program ended: one that failed without a failed test, or ran no test at all, has
 * failed. So a crash, a compile error or a pattern that fits no file never counts as success.
 */
export function judge(counted: Tally, exitCode: number): Tally {
  const { passed, failed, skipped } = counted;
  if (failed > 0) return counted;
  if (exitCode !== 0 || passed + skipped === 0) return { ...counted, failed: 1 };
  return counted;
}

/** The last line of a run, which other programs read. */
export function closingLine(total: Tally): string {
  return `${total.passed} passed, ${total.failed} failed`;
}

/** A run in which nothing passed has shown nothing. */
export function exitCode(total: Tally): 0 | 1 {
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
}
