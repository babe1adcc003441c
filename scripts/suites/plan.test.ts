import { onCluster, PATTERNS } from './plan.ts';
import { filesOf } from './suite.ts';

describe('the plan', () => {
  it('runs every test file exactly once', () => {
    const planned = PATTERNS.flatMap((patterns) => filesOf(patterns));
    expect(planned.toSorted()).toStrictEqual(filesOf(['**/*.test.ts']));
  });

  it('leaves suites out that have no file of the wanted name', () => {
    expect(onCluster(['test/e2e/claim']).map((suite) => suite.name)).toStrictEqual(['e2e']);
  });
});
