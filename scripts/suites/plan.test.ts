import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onCluster, PATTERNS } from './plan.ts';
import { filesOf } from './suite.ts';

describe('the plan', () => {
  it('runs every test file exactly once', () => {
    const planned = PATTERNS.flatMap((patterns) => filesOf(patterns));
    assert.deepEqual(planned.toSorted(), filesOf(['**/*.test.ts']));
  });

  it('leaves suites out that have no file of the wanted name', () => {
    assert.deepEqual(
      onCluster(['test/e2e/claim']).map((suite) => suite.name),
      ['e2e'],
    );
  });
});
