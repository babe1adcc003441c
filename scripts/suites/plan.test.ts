import { globSync } from 'node:fs';
import jestConfig from '../../jest.config.ts';
import { checks, integration, onCluster } from './plan.ts';
import { ROOT } from './suite.ts';

const { projects } = jestConfig;
const filesOf = (patterns: string[]) => globSync(patterns, { cwd: ROOT, exclude: (name) => name === 'node_modules' || name === 'dist' });

describe('the projects of jest.config.ts', () => {
  it('have every test file exactly once', () => {
    const found = projects.flatMap(({ testMatch }) => filesOf(testMatch.map((pattern) => pattern.replace('<rootDir>/', ''))));
    expect(found.toSorted()).toStrictEqual(filesOf(['**/*.test.ts']).toSorted());
  });

  it('are all in what `make test` runs', () => {
    const suites = [...checks().flat(), ...integration(), ...onCluster()].map(({ name }) => name);
    expect(suites).toStrictEqual(expect.arrayContaining(projects.map(({ displayName }) => displayName)));
  });
});
