// Kubernetes' storage suite on the test bed (make test-k8s-storage): on the cluster that demo-up started, else on one of its own. Results
// are kept, so that the next run goes on where this one ended; specs that failed run again. Variables: ONLY, a word of the specs' names;
// MINUTES, how long to go on (600).

import { basename, join } from 'node:path';
import { freshCluster, isClusterUp, runningCluster } from '../../scripts/suites/cluster.ts';
import { Cluster } from '../testbed/cluster.ts';
import { STORAGE_SUITE_KEY } from '../testbed/kit.ts';
import { CACHE, keyOf } from '../testbed/paths.ts';
import { prepare } from '../testbed/prepare.ts';
import { Progress, type Step } from '../testbed/progress.ts';
import { Results, skipTable, table } from './results.ts';
import { DRIVER, LIMITS_CLASS, StorageSuite, THIN_CLASS, THIN_DRIVER } from './suite.ts';

/** Specs in one run of the suite's program. What a run that is cut short has found is lost. */
const PIECE = 4;
/** Runs of the program at the same time. A spec waits for most of its time. */
const LANES = 2;
/** Specs whose effects others would notice run alone. */
const ALONE = /\[(Serial|Disruptive)\]/;

const only = process.env.ONLY ?? '';
const end = Date.now() + Number(process.env.MINUTES ?? 600) * 60_000;
const progress = new Progress();
const step: Step = (what, work, options) => progress.step(what, work, options);
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());

function inPieces(names: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(names.length / PIECE) }, (_, i) => names.slice(i * PIECE, (i + 1) * PIECE));
}

/** @param manifest what the suite is told of the driver */
async function runAll(suite: StorageSuite, cluster: Cluster, manifest: string): Promise<void> {
  const file = `storage-suite-${basename(manifest, '.yaml')}-results.json`;
  const results = new Results(join(CACHE, file), `${STORAGE_SUITE_KEY} ${keyOf([manifest])}`);
  const names = await suite.specs(manifest);
  const done = (name: string) => ['passed', 'skipped'].includes(results.get(name)?.state ?? '');
  const waiting = names.filter((name) => name.includes(only) && !done(name));
  console.log(`${basename(manifest)}: ${names.length} specs, of which ${waiting.length} are to run`);
  const runPiece = async (piece: readonly string[]): Promise<void> => {
    const outcomes = await suite.runSpecs(cluster, manifest, piece);
    results.add(outcomes);
    for (const [name, { state, seconds, message }] of outcomes) {
      if (state !== 'skipped') console.log(`${state} ${name} (${seconds.toFixed(1)} s)${state === 'failed' ? `\n${message}` : ''}`);
      if (state === 'failed') process.exitCode = 1;
    }
  };
  const runLane = async (pieces: string[][]): Promise<void> => {
    while (Date.now() < end && !interrupted.signal.aborted) {
      const piece = pieces.shift();
      if (!piece) return;
      await runPiece(piece);
    }
  };
  const [alone, together] = [waiting.filter((name) => ALONE.test(name)), waiting.filter((name) => !ALONE.test(name))];
  const pieces = inPieces(together);
  // The cluster must not go while a lane still runs.
  const lanes = await Promise.allSettled(Array.from({ length: LANES }, () => runLane(pieces)));
  for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
  await runLane(inPieces(alone));
  const left = names.filter((name) => name.includes(only) && !results.get(name)).length;
  if (left > 0) {
    console.error(`${basename(manifest)}: ${left} specs have not run yet; the next run goes on with them`);
    process.exitCode = 1;
  }
  console.log(`\n${table(names, results)}\n\n${skipTable(names, results)}`);
}

try {
  await prepare(progress);
  const suite = await step("Kubernetes' storage suite", () => StorageSuite.build(), { usually: '3 minutes the first time' });
  const held = isClusterUp() ? await runningCluster(step) : await freshCluster(step, interrupted.signal);
  try {
    const cluster = await Cluster.attach();
    await step("images of the suite's pods", () => suite.installImages(cluster), { usually: '20 s' });
    await cluster.apply([THIN_CLASS, LIMITS_CLASS]);
    for (const manifest of [DRIVER, THIN_DRIVER]) await runAll(suite, cluster, manifest);
  } finally {
    await held.release();
  }
} catch (error) {
  progress.fail(error);
  process.exitCode = 1;
}
