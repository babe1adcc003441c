// What is tested, and in which order.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runLab } from '../../test/faults/fast/run-lab.ts';
import { SILENCES } from '../../test/faults/model/plan.ts';
import { cargoTests, commands, jestTests, ROOT, type RunContext, type Suite } from './suite.ts';
import { ONE_FAILED, ONE_PASSED, type Tally } from './tally.ts';

const bin = (name: string) => join(ROOT, 'node_modules/.bin', name);
const node = (...args: string[]) => [process.execPath, ...args];

/** The inner loop: lanes run side by side, what is in one lane runs in order. */
export function checks(): Suite[][] {
  return [
    [
      commands('types', '2 s', [[bin('tsc'), '--noEmit', '-p', ROOT]]),
      commands('lint', '4 s', [
        [bin('biome'), 'ci', ROOT],
        [bin('oxlint'), '--type-aware', '--deny-warnings', '--format=unix', ROOT],
      ]),
      jestTests('unit', '3 minutes'),
    ],
    [
      commands('generated', '3 s', [
        node(join(ROOT, 'api/schema/generate.ts'), '--check'),
        node(join(ROOT, 'scripts/docs/generate.ts'), '--check'),
      ]),
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
    jestTests('wire', '60 s'),
    jestTests('driver', '4 minutes', { limitMinutes: 30, eachTest: true }),
    jestTests('chart', '20 s'),
    jestTests('release', '30 s'),
    ...site(),
    jestTests('apiserver', '5 minutes', { limitMinutes: 30, eachTest: true }),
    jestTests('faults-fast', '2 minutes', { limitMinutes: 60, eachTest: true }),
  ];
}

/** The documentation as a site: it is built, and looked at in a browser. */
export function site(): Suite[] {
  return [commands('docs', '10 s', [node(join(ROOT, 'scripts/docs/build.ts'))]), jestTests('site', '30 s')];
}

/** What runs on the cluster. With words only the files whose path has one of them. */
export function onCluster(words: string[] = []): Suite[] {
  const options = { limitMinutes: 180, eachTest: true };
  if (words.length > 0) return [jestTests('cluster', 'as long as they take', { ...options, words, projects: ['guest', 'e2e', 'faults'] })];
  return [jestTests('guest', '6 minutes', options), jestTests('e2e', '30 minutes', options), jestTests('faults', '4 minutes', options)];
}

/** The faults alone, for as long as STEPS of them take. */
export function longFaults(steps: number): Suite[] {
  return [jestTests('faults', `${steps} steps of half a minute`, { limitMinutes: 20 + 3 * steps, eachTest: true })];
}

/** The faults of the lab of processes alone, with their progress. */
export function longFastFaults(env: { SEED: string; STEPS: string; ONLY: string }): Suite {
  // A step in which a node is silent takes half a minute, and more when a program is killed meanwhile.
  const stepMs = SILENCES.includes(env.ONLY) ? 60_000 : 2_000;
  const run = async ({ signal, report }: RunContext): Promise<Tally> => {
    const { code } = await runLab(env, { limitMs: 300_000 + Number(env.STEPS) * stepMs, signal, report });
    return code === 0 ? ONE_PASSED : ONE_FAILED;
  };
  return { name: 'faults-fast', usually: `${env.STEPS} steps of 0.6 s`, run };
}
