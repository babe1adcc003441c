import { join } from 'node:path';
import { type CommandOptions, runCommand } from './command.ts';
import type { Line } from './reporter.ts';
import { judge, NOTHING, ONE_FAILED, ONE_PASSED, sum, type Tally } from './tally.ts';

export interface NodeTestOptions extends Omit<CommandOptions, 'onLine'> {
  files: string[];
  /** Files that run at the same time; tests that share a cluster or the machine's network want 1. */
  concurrency: number | undefined;
  /** Is told of each test when it has ended. */
  onTest: (test: Extract<Line, { type: 'test' }>) => void;
}

function parse(text: string): Line | undefined {
  try {
    const line = JSON.parse(text);
    return line?.type === 'test' || line?.type === 'counts' ? line : undefined;
  } catch {
    // Something that a test printed.
    return undefined;
  }
}

/** Runs files of node:test. The log has the readable report. */
export async function runNodeTests(options: NodeTestOptions): Promise<Tally> {
  // What has ended so far, until node has counted: a run that is cut short has that only.
  let counts: Tally = NOTHING;
  const { files, concurrency, onTest, ...command } = options;
  const argv = [
    ...[process.execPath, '--test', '--enable-source-maps'],
    ...(concurrency === undefined ? [] : [`--test-concurrency=${concurrency}`]),
    ...[`--test-reporter=${join(import.meta.dirname, 'reporter.ts')}`, '--test-reporter-destination=stdout'],
    ...['--test-reporter=spec', `--test-reporter-destination=${options.log.replace(/\.log$/, '')}.report.log`],
    ...files,
  ];
  const { code } = await runCommand(argv, {
    ...command,
    onLine: (text) => {
      const line = parse(text);
      if (line?.type === 'test') {
        counts = sum([counts, line.failed ? ONE_FAILED : line.skipped ? { ...NOTHING, skipped: 1 } : ONE_PASSED]);
        onTest(line);
      } else if (line) counts = { passed: line.passed, failed: line.failed, skipped: line.skipped };
    },
  });
  return judge(counts, code);
}
