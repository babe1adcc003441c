import type { Tally } from './tally.ts';

const RESULT = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm;
const FAILED = /^test (\S+)(?: - should panic)? \.\.\. FAILED$/gm;

/** Adds up the result lines of `cargo test`: one for each test program, and one for the documentation's examples. */
export function countCargo(output: string): Tally {
  const tally = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of output.matchAll(RESULT)) {
    tally.passed += Number(passed);
    tally.failed += Number(failed);
    tally.skipped += Number(ignored);
  }
  return tally;
}

/** Names of the tests that failed. */
export function failedInCargo(output: string): string[] {
  return [...output.matchAll(FAILED)].map((match) => match[1] ?? '');
}
