// In namespaces of its own: see main.ts. Prints progress, and the results as one line of JSON.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { NodeCondition } from '../../../api/node.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, API_VERSION, NODES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { Informer, type Kube, type KubeObject } from '../../../kube/mod.ts';
import { FakeAgent } from '../../apiserver/fake-agent.ts';
import { announceNode, reportPool, volume } from '../../apiserver/objects.ts';
import { ApiServer, freePorts } from '../../apiserver/server.ts';
import { Part } from '../../faults/fast/part.ts';
import { ROOT } from '../../testbed/paths.ts';
import { poll } from '../../testbed/process/shell.ts';
import { median } from '../statistics.ts';
import { cpuMs, rssMib } from './processes.ts';
import type { Measured, Pair } from './table.ts';

const [HERE, ELSEWHERE, SETTLE] = ['HERE', 'ELSEWHERE', 'SETTLE'].map((name) => Number(process.env[name]));
const PROGRAMS = ['operator', 'CSI controller', 'agent', 'node plugin'] as const;
type Program = (typeof PROGRAMS)[number];

/** The node of the measured agent, and one whose agent is a fake. */
const STORAGE = 'storage-1';
const OTHER = 'storage-2';
const CAPACITY = '1Mi';
/** Changes for one figure. CPU time is counted in hundredths of a second. */
const CHANGES = 300;
const CHANGE_EVERY_MS = 20;
const AT_ONCE = 16;
const SAMPLES = 5;

/** Flags of Node.js, and environment as arguments of env(1), as the chart gives them to our programs. */
const HELPERS = readFileSync(join(ROOT, 'charts/aoe-csi/templates/_helpers.tpl'), 'utf8');
const FLAGS = /^node, (--.*)$/m.exec(HELPERS)?.[1]?.split(', ') ?? [];
const ENVIRONMENT = Array.from(HELPERS.matchAll(/^- \{ name: (\w+), value: "(.*)" \}$/gm), ([, name, value]) => `${name}=${value}`);

const dist = (name: string): string => join(ROOT, 'dist', name);
const at = (name: string): string => join(tmpdir(), name);

/** The programs, and their addresses of health. */
class Lab {
  readonly api: ApiServer;
  readonly kube: Kube;
  readonly parts: Record<Program, Part>;
  readonly #target: Part;
  readonly #health: Record<Program, string>;

  constructor(api: ApiServer, ports: readonly number[]) {
    this.api = api;
    this.kube = api.kube();
    this.#health = Object.fromEntries(PROGRAMS.map((name, index) => [name, `127.0.0.1:${ports[index]}`])) as Record<Program, string>;
    const target = at('target.sock');
    this.#target = new Part('target', [dist('cargo/release/aoe-target'), '--socket', target, '--state', at('target')], at('target.log'));
    const part = (name: Program, program: string, ...args: string[]): [Program, Part] => {
      const common = [`--kubeconfig=${api.kubeconfig}`, `--http=${this.#health[name]}`];
      return [
        name,
        new Part(name, ['env', ...ENVIRONMENT, process.execPath, ...FLAGS, dist(program), ...args, ...common], at(`${name}.log`)),
      ];
    };
    this.parts = Object.fromEntries([
      // One identity: an operator that is started again has the lease at once.
      part('operator', 'operator.js', '--namespace=default', '--identity=operator'),
      part('CSI controller', 'csi.js', 'controller', `--endpoint=unix://${at('controller.sock')}`),
      part('agent', 'agent.js', `--node=${STORAGE}`, `--target-socket=${target}`, '--interfaces=target0'),
      part('node plugin', 'csi.js', 'node', `--node=${STORAGE}`, `--endpoint=unix://${at('node.sock')}`, `--kubelet-path=${at('kubelet')}`),
    ]) as Record<Program, Part>;
  }

  async start(): Promise<void> {
    this.#target.start();
    for (const name of PROGRAMS) await this.restart(name);
  }

  /** @returns seconds until it was ready */
  async restart(name: Program): Promise<number> {
    const part = this.parts[name];
    await part.kill();
    const started = performance.now();
    part.start();
    const ask = async () => ((await fetch(`http://${this.#health[name]}/readyz`)).ok ? true : undefined);
    await poll(ask, { timeoutMs: 60_000, intervalMs: 20, what: `${name} to be ready`, explain: () => part.tail(2_000) });
    return (performance.now() - started) / 1000;
  }

  async stop(): Promise<void> {
    await Promise.all([...Object.values(this.parts), this.#target].map((part) => part.kill()));
    await this.api.stop();
  }
}

function byProgram<T>(measure: (name: Program) => T): Record<Program, T> {
  return Object.fromEntries(PROGRAMS.map((name) => [name, measure(name)])) as Record<Program, T>;
}

async function makeObjects(kube: Kube): Promise<void> {
  for (const name of [STORAGE, OTHER]) {
    const machine = { apiVersion: 'v1', kind: NODES.kind, metadata: { name, labels: { 'aoe.dev/storage': 'true' } } };
    await kube.create<KubeObject>(NODES, machine);
    await announceNode(kube, name);
  }
  const pool = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name: 'default' } };
  await kube.create(AOE_POOLS, { ...pool, spec: { backend: 'file', directory: at('pool') } } as never);
  await reportPool(kube, 'default', { name: OTHER, ready: true, size: '1Ti', free: '1Ti', granularity: '1Mi' });
}

async function makeVolumes(kube: Kube, names: readonly string[], nodeName: string): Promise<void> {
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift())
      await kube.create(AOE_VOLUMES, volume(name, { capacity: CAPACITY, nodeName }));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function allReady(volumes: Informer<AoEVolume>, count: number): Promise<void> {
  const ready = () => volumes.list().filter(({ status }) => status?.phase === 'Ready');
  const ask = async () => (ready().length === count ? true : undefined);
  const explain = () => `${ready().length}: ${JSON.stringify(volumes.list().find(({ status }) => status?.phase !== 'Ready'))}`;
  await poll(ask, { timeoutMs: 600_000, intervalMs: 200, what: `${count} volumes to be Ready`, explain });
}

/** Median of some samples, in MiB, after a rest. */
async function memory(lab: Lab): Promise<Record<Program, number>> {
  await delay((SETTLE ?? 0) * 1000);
  const samples: Record<Program, number>[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    samples.push(byProgram((name) => rssMib(lab.parts[name].pid)));
    await delay(1_000);
  }
  return byProgram((name) => median(samples.map((sample) => sample[name])));
}

/** CPU time of each program during some work, in milliseconds. */
async function spent(lab: Lab, work: () => Promise<void>): Promise<{ cpu: Record<Program, number>; ms: number }> {
  const before = byProgram((name) => cpuMs(lab.parts[name].pid));
  const started = performance.now();
  await work();
  return { cpu: byProgram((name) => cpuMs(lab.parts[name].pid) - before[name]), ms: performance.now() - started };
}

interface Work {
  change: Record<Program, number>;
  report: Record<Program, number>;
  idle: Record<Program, number>;
}

/** What each program does per change of a volume, per report of a node, and while nothing changes. */
async function work(lab: Lab, name: string): Promise<Work> {
  const rest = await spent(lab, () => delay((SETTLE ?? 0) * 1000));
  const per = async (change: (count: number) => Promise<unknown>): Promise<Record<Program, number>> => {
    const { cpu, ms } = await spent(lab, async () => {
      for (let count = 0; count < CHANGES; count++) {
        await change(count);
        await delay(CHANGE_EVERY_MS);
      }
    });
    // Less what it does anyway in that time.
    return byProgram((each) => Math.max(0, cpu[each] - (rest.cpu[each] * ms) / rest.ms) / CHANGES);
  };
  const note = (count: number) => lab.kube.patch(AOE_VOLUMES, name, { metadata: { annotations: { count: String(count) } } });
  const change = await per(note);
  const report = await per((count) =>
    lab.kube.patch(AOE_NODES, OTHER, { status: { targets: count } }, { subresource: 'status', fieldManager: 'aoe-csi-agent' }),
  );
  return { change, report, idle: byProgram((each) => (rest.cpu[each] / rest.ms) * 100) };
}

function pairOf(one: Record<Program, number>, all: Record<Program, number>, name: Program): Pair {
  return { one: one[name], all: all[name] };
}

execFileSync('ip', ['link', 'set', 'lo', 'up']);
execFileSync('ip', ['link', 'add', 'target0', 'mtu', '9000', 'type', 'veth', 'peer', 'name', 'segment0', 'mtu', '9000']);
for (const name of ['target0', 'segment0']) execFileSync('ip', ['link', 'set', name, 'up']);
mkdirSync(join(at('kubelet'), 'plugins_registry'), { recursive: true });

const stop = new AbortController();
const lab = new Lab(await ApiServer.start(), await freePorts(PROGRAMS.length));
const { kube } = lab;
await makeObjects(kube);
const fake = new FakeAgent(kube);
fake.down.add(STORAGE);
void fake.run(stop.signal);
const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
void volumes.run(stop.signal);
await lab.start();
const serving = async () => {
  const node = await kube.get<KubeObject & { status?: { conditions?: { type: string; status: string }[] } }>(AOE_NODES, STORAGE);
  return node?.status?.conditions?.some(({ type, status }) => type === NodeCondition.TargetReady && status === 'True') ? true : undefined;
};
await poll(serving, { timeoutMs: 30_000, intervalMs: 50, what: 'the target to serve', explain: () => lab.parts.agent.tail(2_000) });

const empty = await memory(lab);
console.log(`none: ${JSON.stringify(empty)}`);
const first = 'here-0';
await makeVolumes(kube, [first], STORAGE);
await allReady(volumes, 1);
const one = await work(lab, first);
console.log(`work with one: ${JSON.stringify(one)}`);

const started = performance.now();
await Promise.all([
  makeVolumes(
    kube,
    Array.from({ length: (HERE ?? 0) - 1 }, (_, index) => `here-${index + 1}`),
    STORAGE,
  ),
  makeVolumes(
    kube,
    Array.from({ length: ELSEWHERE ?? 0 }, (_, index) => `elsewhere-${index}`),
    OTHER,
  ),
]);
await allReady(volumes, (HERE ?? 0) + (ELSEWHERE ?? 0));
console.log(`all are Ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
const full = await memory(lab);
console.log(`all: ${JSON.stringify(full)}`);
const all = await work(lab, first);
console.log(`work with all: ${JSON.stringify(all)}`);

const ready = {} as Record<Program, number>;
for (const name of PROGRAMS) ready[name] = await lab.restart(name);
console.log(`ready after restart: ${JSON.stringify(ready)}`);
const restarted = await memory(lab);
const results = byProgram(
  (name): Measured => ({
    empty: empty[name],
    full: full[name],
    restarted: restarted[name],
    ready: ready[name],
    change: pairOf(one.change, all.change, name),
    report: pairOf(one.report, all.report, name),
    idle: pairOf(one.idle, all.idle, name),
  }),
);
console.log(`results: ${JSON.stringify(results)}`);
for (const error of fake.errors) console.log(`the fake agent failed: ${String(error)}`);
stop.abort();
await lab.stop();
process.exit(0);
