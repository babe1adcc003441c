// Installs a release on a new cluster, as somebody does who has no checkout: the packed chart and its image, and nothing else of the
// repository. Prints how long it takes from `helm install` until the first pod with a claim has written to its volume. Fails when that
// takes longer than LIMIT_SECONDS. It makes the release and a cluster of its own, which AOE_CSI_CLUSTER names, and removes the cluster.
import { copyFileSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { claim, pod } from '../e2e/manifests.ts';
import { Namespace } from '../e2e/namespace.ts';
import { Cluster } from '../testbed/cluster.ts';
import { ROOT } from '../testbed/paths.ts';
import { prepare } from '../testbed/prepare.ts';
import { run } from '../testbed/process/shell.ts';
import { Progress } from '../testbed/progress.ts';

const LIMIT_SECONDS = 180;
const RELEASE = join(ROOT, 'dist/release');
/** Nodes cannot pull: the image is in their store under this name and its digest, as after a pull. */
const REPOSITORY = 'registry.example/aoe-csi';

/** Path of the only file of the release that matches. */
function released(pattern: string): string {
  const [path] = globSync(join(RELEASE, pattern));
  if (!path) throw new Error(`the release has no ${pattern}`);
  return path;
}

/** Seconds from the start of `helm install`: until helm has returned, and until a pod has written to its volume. */
async function measure(cluster: Cluster, chart: string): Promise<{ helm: number; pod: number }> {
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  const settings = ['--set', 'interfaces={vec0}'];
  await cluster.helm(['install', 'aoe-csi', chart, '--namespace', 'aoe-csi', '--create-namespace', ...settings]);
  const helm = since();
  const namespace = await Namespace.create(cluster, 'first');
  const script = 'echo written >/data/note && sync && touch /tmp/ready; sleep 3600';
  await namespace.apply([claim('first'), pod('first', { claim: 'first', script })]);
  await namespace.ready('first', LIMIT_SECONDS * 1000);
  return { helm, pod: since() };
}

const progress = new Progress();
const outside = mkdtempSync(join(tmpdir(), 'aoe-csi-install-'));
try {
  await prepare(progress);
  const env = { ...process.env, REPOSITORY };
  const release = () => run(process.execPath, [join(ROOT, 'scripts/release/main.ts')], { env, timeoutMs: 600_000 });
  await progress.step('the release', release, { usually: '30 s' });
  const chart = join(outside, basename(released('aoe-csi-*.tgz')));
  copyFileSync(released('aoe-csi-*.tgz'), chart);
  const cluster = await Cluster.up((what, work, options) => progress.step(what, work, options), { bare: true });
  const load = `ctr -n k8s.io images import --digests --base-name '${REPOSITORY}' '${released('*.oci.tar')}'`;
  await progress.step('the image of the release on all nodes', () =>
    Promise.all(cluster.nodes.map((name) => cluster.guest(name).exec(load, { timeoutMs: 300_000 }))),
  );
  const seconds = await progress.step('helm install', () => measure(cluster, chart));
  const [model = 'unknown'] = /(?<=^model name\s*: ).*/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  console.log(
    `helm install returned after ${seconds.helm.toFixed(1)} s; a pod had written to its volume after ${seconds.pod.toFixed(1)} s`,
  );
  console.log(`on ${cpus().length} processors ${model}, with a control plane and three nodes as guests`);
  if (seconds.pod > LIMIT_SECONDS) throw new Error(`it took longer than ${LIMIT_SECONDS} s`);
} catch (error) {
  progress.fail(error);
  process.exitCode = 1;
} finally {
  await Cluster.down();
  rmSync(outside, { recursive: true });
}
