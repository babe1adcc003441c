import { join, relative } from 'node:path';
import { countCargo, failedInCargo, outputOf } from './cargo.ts';
import { runCommand } from './command.ts';
import { runJest } from './jest.ts';
import { judge, ONE_FAILED, ONE_PASSED, type Tally } from './tally.ts';

export const ROOT = join(import.meta.dirname, '../..');
export const LOGS = join(ROOT, 'dist/logs');
const MINUTE_MS = 60_000;

/** What a suite's run is given: how it is stopped, and where its events go. */
export interface RunContext {
  signal: AbortSignal;
  /** Gets each failure, and each test of a slow suite. */
  report: (text: string) => void;
}

/** Something that `make test` runs and counts. */
export interface Suite {
  name: string;
  /** How long it usually takes. */
  usually: string;
  run: (context: RunContext) => Promise<Tally>;
}

const logOf = (name: string) => join(LOGS, `${name}.log`);

function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/** The first lines have the panic; a long backtrace may follow. */
function firstLines(text: string, count: number): string {
  return text.split('\n').slice(0, count).join('\n');
}

/**
 * Commands in order, each one test. After a failed command the rest still run.
 * @param missing what cannot run on this machine, and why: counted as skipped
 */
export function commands(name: string, usually: string, argvs: string[][], missing: string[] = []): Suite {
  return {
    name,
    usually,
    run: async ({ signal, report }) => {
      const total = { passed: 0, failed: 0, skipped: missing.length };
      for (const why of missing) report(`skipped ${why}`);
      for (const argv of argvs) {
        const { code, output } = await runCommand(argv, { log: logOf(name), limitMs: 30 * MINUTE_MS, signal });
        const tally = code === 0 ? ONE_PASSED : ONE_FAILED;
        total.passed += tally.passed;
        total.failed += tally.failed;
        if (code !== 0) report(`FAILED ${argv.map((word) => relative(ROOT, word) || word).join(' ')}\n${lastLines(output, 30)}`);
      }
      return total;
    },
  };
}

/** A `cargo test` command. */
export function cargoTests(name: string, usually: string, args: string[]): Suite {
  return {
    name,
    usually,
    run: async ({ signal, report }) => {
      const argv = ['cargo', 'test', '--locked', '--no-fail-fast', ...args];
      const { code, output } = await runCommand(argv, { log: logOf(name), limitMs: 45 * MINUTE_MS, signal });
      const failed = failedInCargo(output);
      for (const test of failed) report(`FAILED ${test}\n${firstLines(outputOf(test, output), 15)}`);
      if (code !== 0 && failed.length === 0) report(lastLines(output, 30));
      return judge(countCargo(output), code);
    },
  };
}

export interface JestSuiteOptions {
  /** Projects of jest.config.ts; that of the suite's name unless given. */
  projects?: string[];
  /** Only files whose path has one of these words; none: all. */
  words?: string[];
  limitMinutes?: number;
  /** Report each test of more than half a second when it has ended, not only failures. */
  eachTest?: boolean;
}

/** Tests that Jest runs. */
export function jestTests(name: string, usually: string, options: JestSuiteOptions = {}): Suite {
  return {
    name,
    usually,
    run: ({ signal, report }) =>
      runJest({
        projects: options.projects ?? [name],
        words: options.words ?? [],
        log: logOf(name),
        limitMs: (options.limitMinutes ?? 40) * MINUTE_MS,
        signal,
        onTest: (test) => {
          const seconds = (test.durationMs / 1000).toFixed(1);
          if (test.failed) report(`FAILED ${test.name} (${relative(ROOT, test.file)}, ${seconds} s)\n${firstLines(test.error, 40)}`);
          else if (options.eachTest && (test.durationMs > 500 || test.skipped))
            report(`${test.skipped ? 'skipped' : 'ok'} ${test.name} (${seconds} s)`);
        },
      }),
  };
}
