// How fast claims and pods are served on the test bed, beside a driver that does nothing and pods without volumes (make bench-claims).
// On the cluster that demo-up started, else on one of its own. Variables: N, numbers of objects at once (20 50); ROUNDS of one at a time
// (8); POOLS (lvm file); PATIENCE, seconds without any progress after which a phase is given up (600).
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { freshCluster, isClusterUp, runningCluster } from '../../../scripts/suites/cluster.ts';
import { NETNS } from '../../testbed/paths.ts';
import { prepare } from '../../testbed/prepare.ts';
import { Progress, type Step } from '../../testbed/progress.ts';

const progress = new Progress();
const step: Step = (what, work, options) => progress.step(what, work, options);
try {
  await prepare(progress);
  const cluster = isClusterUp() ? await runningCluster(step) : await freshCluster(step, new AbortController().signal);
  try {
    // The API server is in the cluster's network namespace.
    const measure = join(import.meta.dirname, 'measure.ts');
    const { status } = spawnSync('ip', ['netns', 'exec', NETNS, process.execPath, measure], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } finally {
    await cluster.release();
  }
} catch (error) {
  progress.fail(error);
  process.exitCode = 1;
}
