// A Jest reporter for scripts/suites: a JSON line for each test that ended, and one for the counts of the run.
import { stripVTControlCharacters } from 'node:util';
import type { AggregatedResult, TestCaseResult, Test as TestFile, TestResult } from '@jest/reporters';

/** What the reporter writes. */
export type Line =
  | { type: 'test'; name: string; file: string; failed: boolean; skipped: boolean; durationMs: number; error: string }
  | { type: 'counts'; passed: number; failed: number; skipped: number };

/** Frames of a stack that say nothing about the test. */
const OURS_OR_NODES = /^\s+at .*(node_modules\/jest-circus|node:internal|scripts\/jest\/|new Promise \(<anonymous>\)|Array\.map)/;

function readable(text: string): string {
  const lines = stripVTControlCharacters(text).split('\n');
  return lines.filter((line) => !OURS_OR_NODES.test(line)).join('\n');
}

const write = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`);

export default class LineReporter {
  onTestCaseResult({ path: file }: TestFile, { fullName: name, status, duration, failureMessages }: TestCaseResult): void {
    write({
      type: 'test',
      name,
      file,
      failed: status === 'failed',
      skipped: status === 'pending' || status === 'todo',
      durationMs: duration ?? 0,
      error: readable(failureMessages.join('\n')),
    });
  }

  /** A file that failed as a whole, or whose clean-up failed, is reported as one test. */
  onTestResult({ path: file }: TestFile, { testExecError, perfStats }: TestResult): void {
    if (!testExecError) return;
    const error = readable(testExecError.stack || testExecError.message);
    write({ type: 'test', name: '(the file)', file, failed: true, skipped: false, durationMs: perfStats.runtime, error });
  }

  onRunComplete(_contexts: unknown, results: AggregatedResult): void {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites, numPendingTests, numTodoTests } = results;
    write({
      type: 'counts',
      passed: numPassedTests,
      failed: numFailedTests + numRuntimeErrorTestSuites,
      skipped: numPendingTests + numTodoTests,
    });
  }
}
