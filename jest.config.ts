// One project for each layer of tests: npx jest --selectProjects unit. docs/adr/0013-jest.md has the reasons.
import type { Config } from 'jest';
import type { RunnerOptions } from './scripts/jest/runner.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** @param testTimeout limit in milliseconds of each test and hook that brings none of its own */
function project(displayName: string, patterns: string[], options: RunnerOptions & { testTimeout: number }) {
  return {
    displayName,
    testMatch: patterns.map((pattern) => `<rootDir>/${pattern}`),
    roots: ['api', 'aoe', 'kube', 'rpc', 'run', 'operator', 'agent', 'csi', 'crds', 'kubectl', 'scripts', 'test'].map(
      (folder) => `<rootDir>/${folder}`,
    ),
    runner: ['<rootDir>/scripts/jest/runner.ts', options],
    setupFilesAfterEnv: ['<rootDir>/scripts/jest/setup.ts'],
    // Node strips the types itself.
    transform: {},
  } satisfies Config['projects'] extends (infer Entry)[] | undefined ? Entry : never;
}

/** They share the machine's network, a cluster, a folder, or processor time that they measure: one file after the other. */
const serial = true;

export default {
  // On a machine with two processors Jest would take one.
  maxWorkers: 2,
  projects: [
    // Need neither a cluster nor built programs.
    project(
      'unit',
      [
        '{api,aoe,kube,rpc,run,operator,agent,csi,crds,kubectl,scripts}/**/*.test.ts',
        'test/{bench,testbed,demo,docs,faults/model,k8s-storage}/**/*.test.ts',
        'test/{groups,copies}/*.property.test.ts',
        'test/faults/fast/fake-*.test.ts',
      ],
      { testTimeout: MINUTE },
    ),
    // On a real API server, on this machine: they wait more than they compute.
    project('apiserver', ['test/apiserver/**/*.test.ts'], {
      ...{ serial, workers: 2, testTimeout: 10 * MINUTE },
      first: ['takeover', 'stopped', 'volume-snapshots', 'move', 'csi-controller'].map((name) => `${name}.test.ts`),
    }),
    project('chart', ['test/chart/**/*.test.ts'], { testTimeout: 5 * MINUTE }),
    // What `make release` makes.
    project('release', ['test/release/**/*.test.ts'], { serial, testTimeout: 5 * MINUTE }),
    // The documentation that `make docs` built, in a browser.
    project('site', ['test/site/**/*.test.ts'], { testTimeout: 10 * MINUTE }),
    // On veth pairs in network namespaces of their own.
    project('wire', ['test/{wire,conformance}/**/*.test.ts'], { serial, testTimeout: 5 * MINUTE }),
    // In a guest of their own, with the kernel's driver.
    project('driver', ['test/driver/**/*.test.ts'], { serial, testTimeout: 20 * MINUTE }),
    // Histories of faults drawn from a seed, with real programs and fake hosts, on this machine.
    project('faults-fast', ['test/faults/fast/fast.test.ts', 'test/groups/lab.test.ts'], { serial, testTimeout: 5 * MINUTE }),
    // In the guests of the cluster.
    project('guest', ['test/guest/**/*.test.ts'], { serial, testTimeout: 15 * MINUTE }),
    project('e2e', ['test/e2e/**/*.test.ts'], { serial, testTimeout: 30 * MINUTE }),
    // A history of faults in the cluster, of SEED and STEPS in the environment.
    project('faults', ['test/faults/cluster/*.test.ts'], { serial, testTimeout: 30 * MINUTE }),
  ],
} satisfies Config;
