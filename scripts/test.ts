// Runs tests and counts them: test.ts check | all | docs | e2e [WORD...] | faults | faults-fast; a WORD chooses the files whose path has it.
// The last line is "N passed, N failed", and the exit code is 1 when any failed or none ran. Logs are in dist/logs/.
import { mkdirSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { prepare } from '../test/testbed/prepare.ts';
import { Progress, type Step } from '../test/testbed/progress.ts';
import { freshCluster, isClusterUp, runningCluster, type TestCluster } from './suites/cluster.ts';
import { checks, integration, longFastFaults, longFaults, onCluster, site } from './suites/plan.ts';
import { keepRustDependencies, restoreRustDependencies } from './suites/rust-cache.ts';
import { LOGS, ROOT, type Suite } from './suites/suite.ts';
import { closingLine, exitCode, ONE_FAILED, sum, type Tally } from './suites/tally.ts';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());

const tallies: Tally[] = [];
/** All failures. They are printed again at the end, where a person who sees only the last lines of a run finds them. */
const failures: string[] = [];
const progress = new Progress();

async function run(suite: Suite): Promise<void> {
  if (interrupted.signal.aborted) return;
  const say = (text: string) => console.log(`${suite.name.padEnd(16)} ${text.replaceAll('\n', '\n    ')}`);
  say(`… (usually ${suite.usually})`);
  const started = performance.now();
  const before = failures.length;
  const report = (text: string) => {
    say(text);
    if (text.startsWith('FAILED')) failures.push(`${suite.name}: ${text}`);
  };
  const tally = await suite.run({ signal: interrupted.signal, report });
  tallies.push(tally);
  if (tally.failed > 0 && failures.length === before) failures.push(`${suite.name}: FAILED, see its log`);
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
  say(`${closingLine(tally)}${skipped} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

async function inOrder(suites: Suite[]): Promise<void> {
  for (const suite of suites) await run(suite);
}

/** Work that no test can do without. When it fails, that is one failure, and the tests that need it do not run. */
async function needed<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    progress.fail(error);
    failures.push(`FAILED ${error instanceof Error ? error.message : String(error)}`);
    tallies.push(ONE_FAILED);
    return undefined;
  }
}

async function onACluster(get: () => Promise<TestCluster>, suites: Suite[]): Promise<void> {
  const cluster = await needed(get);
  if (!cluster) return;
  try {
    await inOrder(suites);
  } finally {
    await cluster.release();
  }
}

const step: Step = (what, work, options) => progress.step(what, work, options);
const fresh = () => freshCluster(step, interrupted.signal);
/** The cluster that demo-up started, or else one for this run. */
const running = () => (isClusterUp() ? runningCluster(step) : fresh());
const built = () => needed(() => prepare(progress).then(() => true));

async function group(name: string | undefined, words: string[]): Promise<void> {
  switch (name) {
    case 'check':
      await Promise.all(checks().map(inOrder));
      return;
    case 'all':
      restoreRustDependencies();
      await Promise.all(checks().map(inOrder));
      if (!(await built())) return;
      await inOrder(integration());
      keepRustDependencies();
      if (!interrupted.signal.aborted) await onACluster(fresh, onCluster());
      return;
    case 'docs':
      await inOrder(site());
      return;
    case 'e2e':
      if (await built()) await onACluster(running, onCluster(words));
      return;
    case 'faults':
      if (await built()) await onACluster(running, longFaults(Number(process.env.STEPS ?? 100)));
      return;
    case 'faults-fast':
      if (await built()) {
        const { SEED = '1', STEPS = '1000', ONLY = '' } = process.env;
        await run(longFastFaults({ SEED, STEPS, ONLY }));
      }
      return;
    default:
      throw new Error('usage: test.ts check | all | docs | e2e [WORD...] | faults | faults-fast');
  }
}

rmSync(LOGS, { recursive: true, force: true });
mkdirSync(LOGS, { recursive: true });
await group(process.argv[2], process.argv.slice(3));
if (failures.length > 0) console.log(`\nWhat failed:\n\n${failures.join('\n\n')}`);
const total = sum(interrupted.signal.aborted ? [...tallies, ONE_FAILED] : tallies);
console.log(
  `\n${interrupted.signal.aborted ? 'Interrupted. ' : ''}Logs of each suite: ${relative(process.cwd(), LOGS) || relative(ROOT, LOGS)}`,
);
console.log(closingLine(total));
process.exitCode = exitCode(total);
