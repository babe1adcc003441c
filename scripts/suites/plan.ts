// What is tested, and in which order.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runLab } from '../../test/faults/fast/run.ts';
import { cargoTests, commands, filesOf, nodeTests, ROOT, type RunContext, type Suite } from './suite.ts';
import { ONE_FAILED, ONE_PASSED, type Tally } from './tally.ts';

const bin = (name: string) => join(ROOT, 'node_modules/.bin', name);
const node = (...args: string[]) => [process.execPath, ...args];

const PARTS = '{api,aoe,kube,rpc,run,operator,agent,csi,scripts}';

/** Patterns of the tests that need neither cluster nor built programs. */
const UNIT = [`${PARTS}/**/*.test.ts`, 'test/{bench,testbed,demo,docs,faults/model}/**/*.test.ts', 'test/faults/fast/fake-*.test.ts'];
/** On a real API server, on the host. */
const APISERVER = ['test/apiserver/**/*.test.ts'];
const CHART = ['test/chart/**/*.test.ts'];
/** On veth pairs in network namespaces of their own. */
const WIRE = ['test/{wire,conformance}/**/*.test.ts'];
/** In a guest of their own, with the kernel's driver. */
const DRIVER = ['test/driver/**/*.test.ts'];
/** In the guests of the cluster. */
const GUEST = ['test/guest/**/*.test.ts'];
const E2E = ['test/e2e/**/*.test.ts'];
/** A history of faults drawn from a seed, in the cluster; of SEED and STEPS in the environment. */
const FAULTS = ['test/faults/*.test.ts'];
/** The same with real programs and fake hosts, on this machine. */
const FAST_FAULTS = ['test/faults/fast/fast.test.ts'];

/** The inner loop: lanes run side by side, what is in one lane runs in order. */
export function checks(): Suite[][] {
  return [
    [
      commands('types', '2 s', [[bin('tsc'), '--noEmit', '-p', ROOT]]),
      commands('lint', '4 s', [
        [bin('biome'), 'ci', ROOT],
        [bin('oxlint'), '--type-aware', '--deny-warnings', '--format=unix', ROOT],
      ]),
      nodeTests('unit', '30 s', { files: UNIT, concurrency: 2 }),
    ],
    [
      commands('generated', '1 s', [node(join(ROOT, 'api/generate.ts'), '--check')]),
      rustLint(),
      cargoTests('rust-unit', '5 s', ['--lib', '--bins']),
    ],
  ];
}

function rustLint(): Suite {
  const format = ['cargo', 'fmt', '--all', '--check'];
  const clippy = ['cargo', 'clippy', '--locked', '--all-targets', '--', '-D', 'warnings'];
  const hasClippy = spawnSync('cargo', ['clippy', '--version'], { cwd: ROOT }).status === 0;
  const missing = hasClippy ? [] : ['clippy: the Rust of Debian releases comes without it, rustup brings one'];
  return commands('rust-lint', '5 s', hasClippy ? [format, clippy] : [format], missing);
}

/** What needs the built programs, but no cluster. They use the machine's network and ports: one after the other. */
export function integration(): Suite[] {
  return [
    cargoTests('rust-integration', '60 s', ['--test', '*']),
    nodeTests('wire', '60 s', { files: WIRE, concurrency: 1 }),
    nodeTests('driver', '2 minutes', { files: DRIVER, concurrency: 1, eachTest: true }),
    nodeTests('chart', '20 s', { files: CHART }),
    nodeTests('apiserver', '60 s', { files: APISERVER, concurrency: 1, eachTest: true }),
    nodeTests('faults-fast', '60 s', { files: FAST_FAULTS, concurrency: 1, eachTest: true }),
  ];
}

/** What runs on the cluster. */
export function onCluster(only: string[] = []): Suite[] {
  const suite = (name: string, usually: string, files: string[]) =>
    nodeTests(name, usually, { files, only, concurrency: 1, limitMinutes: 40, eachTest: true });
  const suites: [string, string, string[]][] = [
    ['guest', '1 minute', GUEST],
    ['e2e', '20 minutes', E2E],
    ['faults', '4 minutes', FAULTS],
  ];
  return suites.filter(([, , files]) => only.length === 0 || filesOf(files, only).length > 0).map((each) => suite(...each));
}

/** The faults alone, for as long as STEPS of them take. */
export function longFaults(steps: number): Suite[] {
  return [
    nodeTests('faults', `${steps} steps of half a minute`, { files: FAULTS, concurrency: 1, limitMinutes: 20 + 3 * steps, eachTest: true }),
  ];
}

/** The faults of the lab of processes alone, with their progress. */
export function longFastFaults(env: { SEED: string; STEPS: string }): Suite {
  const run = async ({ signal, tell }: RunContext): Promise<Tally> => {
    const { code } = await runLab(env, { limitMs: 300_000 + Number(env.STEPS) * 1_500, signal, tell });
    return code === 0 ? ONE_PASSED : ONE_FAILED;
  };
  return { name: 'faults-fast', usually: `${env.STEPS} steps of 0.3 s`, run };
}

/** All patterns, so that a test can show that no file is left out. */
export const PATTERNS = [UNIT, APISERVER, CHART, WIRE, DRIVER, GUEST, E2E, FAULTS, FAST_FAULTS];
