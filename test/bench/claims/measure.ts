// Measures, on the running cluster and in its network namespace, how fast claims and pods are served. Started by main.ts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { NODES } from '../../../api/resources.ts';
import { Kube } from '../../../kube/mod.ts';
import { Cluster } from '../../testbed/cluster.ts';
import { ROOT, RUN } from '../../testbed/paths.ts';
import { readCpu, spent } from './cpu.ts';
import { bareLvm } from './lvm.ts';
import { installNothing, removeNothing } from './nothing/deploy.ts';
import { DRIVER } from './nothing/driver.ts';
import { Phases, type Subject, type Times } from './phases.ts';
import type { Column, Results } from './results.ts';
import { rows, table } from './table.ts';
import { type Arrivals, Timeline } from './timeline.ts';
import { watch } from './watch.ts';

const { N = '20 50', ROUNDS = '8', PATIENCE = '600', POOLS = 'lvm file' } = process.env;
const COUNTS = N.split(/[\s,]+/).map(Number);
const NAMESPACE = 'bench-claims';
const IDLE_MS = 20_000;

const classOf = (name: string) => `bench-${name}`;
const pools = (['lvm', 'file'] as const).filter((name) => POOLS.includes(name));
const withClaims = (['nothing', ...pools] as const).map((name) => ({ name, storageClass: classOf(name) }));
const subjects: readonly Subject[] = [{ name: 'none' }, ...withClaims];

const storageClass = (name: Column, provisioner: string, parameters: Record<string, string>) => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: classOf(name) },
  volumeBindingMode: 'WaitForFirstConsumer',
  provisioner,
  parameters,
});
const CLASSES = [
  storageClass('nothing', DRIVER, {}),
  storageClass('lvm', 'aoe.dev', { pool: 'lvm' }),
  storageClass('file', 'aoe.dev', { pool: 'default' }),
];

const cluster = await Cluster.attach();
const kube = Kube.fromKubeconfig(join(RUN, 'admin.kubeconfig'));
const nodes = (await kube.list(NODES)).items.map(({ metadata }) => metadata.name);
const stop = new AbortController();
const started = new Date();
const NO_TIME = { wall: 1, cpu: {}, restarts: {} };
const results: Results = { one: {}, atOnce: [], idle: NO_TIME, whole: NO_TIME };
const load: { phase: string; average: number }[] = [];
const failures: string[] = [];

function describe({ of, seconds }: Arrivals): string {
  return `${seconds.length < of ? `${seconds.length} of ${of}` : 'all'} after ${seconds.at(-1)?.toFixed(1) ?? '–'} s`;
}

/** Writes what there is so far. */
function save(): void {
  const directory = join(ROOT, 'dist/bench');
  mkdirSync(directory, { recursive: true });
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, kernel: release() };
  const text = JSON.stringify({ started, machine, load, failures, ...results }, null, 1);
  writeFileSync(join(directory, `claims-${started.toISOString().slice(0, 19).replaceAll(':', '')}.json`), `${text}\n`);
}

/** What fails is reported, and the rest is measured all the same. */
async function attempt(phase: string, work: () => Promise<Times | undefined>): Promise<void> {
  const average = loadavg()[0] ?? 0;
  load.push({ phase, average });
  try {
    const times = Object.entries((await work()) ?? {}).map(([state, arrivals]) => `${state} ${describe(arrivals)}`);
    console.log(`${phase} (load ${average.toFixed(1)}): ${times.join('; ')}`);
  } catch (error) {
    failures.push(`${phase}: ${String(error)}`);
    console.log(`${phase} FAILED: ${String(error)}`);
  }
  save();
}

async function atOnce(phase: 'pods' | 'claims', n: number, subject: Subject, work: () => Promise<Times>): Promise<void> {
  await attempt(`${n} ${phase} at once, ${subject.name}`, async () => {
    const before = await readCpu(kube, cluster, nodes);
    const times = await work();
    results.atOnce.push({ phase, n, subject: subject.name, times, spent: spent(before, await readCpu(kube, cluster, nodes)) });
    return times;
  });
}

async function measure(phases: Phases): Promise<void> {
  const first = await readCpu(kube, cluster, nodes);
  await attempt('idle', async () => {
    const before = await readCpu(kube, cluster, nodes);
    await delay(IDLE_MS);
    results.idle = spent(before, await readCpu(kube, cluster, nodes));
    return undefined;
  });
  await attempt('bare LVM', async () => {
    results.lvm = await bareLvm(cluster.guest('storage-1'), Math.max(...COUNTS));
    console.log(`bare LVM: ${results.lvm.made.toFixed(2)} made a second, ${results.lvm.removed.toFixed(2)} removed`);
    return undefined;
  });
  // Subjects in turn, so that what disturbs the machine disturbs all of them.
  for (let round = 0; round < Number(ROUNDS); round++) {
    for (const subject of subjects) {
      await attempt(`one, ${subject.name}`, async () => {
        const times = await phases.one(subject);
        results.one[subject.name] = [...(results.one[subject.name] ?? []), times];
        return times;
      });
    }
  }
  for (const n of COUNTS) {
    for (const subject of withClaims) await atOnce('claims', n, subject, () => phases.claims(subject, n));
    for (const subject of subjects) await atOnce('pods', n, subject, () => phases.pods(subject, n));
  }
  results.whole = spent(first, await readCpu(kube, cluster, nodes));
}

/** With all that is in it. */
const removeNamespace = () =>
  cluster.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=600s'], { timeoutMs: 610_000 });

// A run that was interrupted leaves its objects behind.
await removeNamespace();
await installNothing(cluster);
await cluster.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }, ...CLASSES]);
await cluster.kubectl(['-n', NAMESPACE, 'wait', 'serviceaccount/default', '--for=create', '--timeout=60s']);
const timeline = new Timeline(Number(PATIENCE) * 1000);
const watching = watch(kube, NAMESPACE, timeline, stop.signal);
try {
  await watching.synced;
  await measure(new Phases(kube, timeline, NAMESPACE, nodes));
} finally {
  stop.abort();
  await watching.ended;
  save();
  await removeNamespace();
  for (const { metadata } of CLASSES) await cluster.kubectl(['delete', 'storageclass', metadata.name]);
  await removeNothing(cluster);
  kube.close();
}
console.log(`\n${table(rows(results))}\n\nall results: dist/bench/claims-*.json`);
for (const failure of failures) console.log(`FAILED: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
