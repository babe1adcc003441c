import { join } from 'node:path';
import type { Line } from '../jest/reporter.ts';
import { type CommandOptions, runCommand } from './command.ts';
import { judge, NOTHING, ONE_FAILED, ONE_PASSED, sum, type Tally } from './tally.ts';

export interface JestOptions extends Omit<CommandOptions, 'onLine'> {
  /** Of jest.config.ts. */
  projects: string[];
  /** Only files whose path has one of these words; none: all. */
  words: string[];
  /** Is called with each test when it has ended. */
  onTest: (test: Extract<Line, { type: 'test' }>) => void;
}

const JEST = join(import.meta.dirname, '../../node_modules/jest/bin/jest.js');

function parse(text: string): Line | undefined {
  try {
    const line = JSON.parse(text);
    return line?.type === 'test' || line?.type === 'counts' ? line : undefined;
  } catch {
    // Something that a test printed.
    return undefined;
  }
}

/** Runs Jest. The log has its report, too. */
export async function runJest({ projects, words, onTest, ...command }: JestOptions): Promise<Tally> {
  // What has ended so far, until Jest has counted: a run that is cut short has that only.
  let counts: Tally = NOTHING;
  const argv = [
    ...[process.execPath, '--enable-source-maps', JEST, '--ci', '--verbose'],
    ...['--reporters=default', `--reporters=${join(import.meta.dirname, '../jest/reporter.ts')}`],
    ...['--selectProjects', ...projects],
    ...(words.length > 0 ? ['--testPathPatterns', ...words] : []),
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
