// A reporter for node --test: a JSON line for each test that ended and one for the counts of the run, for node-tests.ts.
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** What the reporter writes. */
export type Line =
  | { type: 'test'; name: string; file: string; failed: boolean; skipped: boolean; durationMs: number; error: string }
  | { type: 'counts'; passed: number; failed: number; skipped: number };

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  // node:test wraps what a test threw.
  if ((error as { code?: string }).code === 'ERR_TEST_FAILURE' && error.cause !== undefined) return messageOf(error.cause);
  return error.cause === undefined ? error.message : `${error.message}\nbecause of: ${messageOf(error.cause)}`;
}

function failedByItself(error: unknown): boolean {
  return (error as { failureType?: string } | undefined)?.failureType !== 'subtestsFailed';
}

// node --test takes a reporter as a default export.
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  // Names of the suites that the next test may be in, by nesting level.
  const path: string[] = [];
  for await (const event of source) {
    switch (event.type) {
      case 'test:start':
        path.length = event.data.nesting;
        path.push(event.data.name);
        break;
      case 'test:pass':
      case 'test:fail': {
        const { name, nesting, file, details, skip } = event.data;
        // A suite is told of only when it failed by itself, as in a hook.
        if (details.type === 'suite' && !(event.type === 'test:fail' && failedByItself(event.data.details.error))) break;
        const line: Line = {
          type: 'test',
          name: [...path.slice(0, nesting), name].join(' '),
          file: file ?? '',
          failed: event.type === 'test:fail',
          skipped: skip !== undefined && skip !== false,
          durationMs: details.duration_ms,
          error: event.type === 'test:fail' ? messageOf(event.data.details.error) : '',
        };
        yield `${JSON.stringify(line)}\n`;
        break;
      }
      case 'test:summary': {
        // There is one for each file, too.
        if (event.data.file !== undefined) break;
        // Node's types lack one of the counts.
        const { passed, failed, cancelled, skipped, todo } = event.data.counts as typeof event.data.counts & { failed: number };
        const line: Line = { type: 'counts', passed, failed: failed + cancelled, skipped: skipped + todo };
        yield `${JSON.stringify(line)}\n`;
        break;
      }
      default:
    }
  }
}
