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

/** What a failed test printed: its panic, mostly. */
export function outputOf(test: string, output: string): string {
  const start = output.indexOf(`---- ${test} stdout ----\n`);
  if (start < 0) return '';
  const text = output.slice(output.indexOf('\n', start) + 1);
  const end = text.search(/^(----|failures:)/m);
  return (end < 0 ? text : text.slice(0, end)).trim();
}
