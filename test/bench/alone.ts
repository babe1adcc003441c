// What is measured of our target alone: memory, idleness, many volumes, a restart and a growth under load, a slow neighbour.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtempDisposable, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { GrpcTarget } from '../../agent/target/grpc.ts';
import { WireLab } from '../wire/wire-lab.ts';
import { load } from './initiator.ts';
import { DISK, MEMORY } from './side-by-side.ts';
import { type Disk, disks, exports, ON_TARGET_CPU, TARGET_PROGRAM } from './targets.ts';

const MIB = 1 << 20;
const IDLE_MS = 5000;
const GROWTHS = 50;

export interface Fact {
  what: string;
  value: number;
  unit: string;
  /** At most this. */
  goal?: number;
}

type Measurement = () => Promise<Fact[]>;

/** Starts our target and waits until it has served all; tells how long that took. */
async function serve(lab: WireLab, all: readonly Disk[], options: { state?: boolean } = {}) {
  const state = options.state ? ['--state', join(lab.directory, 'state')] : [];
  const program = [...ON_TARGET_CPU, TARGET_PROGRAM, '--interface', 'target0', ...state, ...exports(all)];
  const started = process.hrtime.bigint();
  const { child, stop } = lab.process(program, 'pipe');
  if (!child.stderr) throw new Error('no log to read');
  const lines = createInterface({ input: child.stderr });
  let served = 0;
  const allServed = new Promise<number>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.includes('"msg":"volume served"') && ++served === all.length) resolve(Number(process.hrtime.bigint() - started) / 1e6);
    });
    lines.on('close', () => reject(new Error(`aoe-target ended with ${served} of ${all.length} volumes served`)));
  });
  const ready = await allServed;
  return { pid: child.pid ?? 0, stop, readyMs: ready, startedNs: Number(started) };
}

function cpuNs(pid: number): number {
  const of = (thread: string) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + of(thread), 0);
}

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function idle(count: number, goalMiB: number): Promise<Fact[]> {
  await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
  const { pid, readyMs } = await serve(lab, disks(lab, count, MIB));
  // What a start needs once is over by then.
  await setTimeout(IDLE_MS);
  const before = cpuNs(pid);
  await setTimeout(IDLE_MS);
  const share = ((cpuNs(pid) - before) / (IDLE_MS * 1e6)) * 100;
  return [
    { what: `start to all served, ${count} volumes`, value: readyMs, unit: 'ms', goal: 300 },
    { what: `RSS idle, ${count} volumes`, value: residentMiB(pid), unit: 'MiB', goal: goalMiB },
    { what: `CPU idle, ${count} volumes`, value: share, unit: '% of a core', goal: 0.1 },
  ];
}

/** The same load on one volume and on many. */
async function costPerVolume(): Promise<Fact[]> {
  const facts: Fact[] = [];
  for (const count of [1, 64, 1000]) {
    await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
    const span = Math.floor(65_536 / count) * 8;
    const { pid } = await serve(lab, disks(lab, count, 512 * span));
    const options = { volumes: count, span, window: Math.min(64, span / 8 - 1), pids: pid };
    await load(lab, { operation: 'fill', ...options });
    const { cpuPerRequest = Number.NaN } = await load(lab, { operation: 'read', ...options });
    facts.push({ what: `CPU per 4 KiB read, 64 outstanding, ${count} volumes`, value: cpuPerRequest, unit: 'µs' });
    if (count === 64) facts.push({ what: 'RSS after load, 64 volumes', value: residentMiB(pid), unit: 'MiB', goal: 10 });
  }
  return facts;
}

/** As much outstanding as is advertised for many volumes: our own ring must lose none of it. */
async function ringLoss(): Promise<Fact[]> {
  await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
  const facts: Fact[] = [];
  const volumes = 64;
  const span = (16 * MIB) / 512;
  await serve(lab, disks(lab, volumes, 512 * span));
  for (const operation of ['fill', 'write', 'read']) {
    const { retransmits } = await load(lab, { operation, volumes, span, window: 32 * volumes });
    facts.push({ what: `retransmits, ${operation}, 64 volumes × 32 outstanding`, value: retransmits, unit: '', goal: 0 });
  }
  return facts;
}

/** The target is killed under load and started again. The stall is counted from the start of the new process. */
async function restart(): Promise<Fact[]> {
  await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
  const volumes = 200;
  const span = 2048;
  const all = disks(lab, volumes, 512 * span);
  const first = await serve(lab, all, { state: true });
  const options = { volumes, span, window: volumes };
  await load(lab, { operation: 'fill', ...options });
  const under = load(lab, { operation: 'write', ...options, seconds: 4, again: 5 });
  await setTimeout(1500);
  await first.stop();
  const second = await serve(lab, all, { state: true });
  const { slowestAt, unanswered, wrong } = await under;
  return [
    { what: 'stall at a restart under load, 200 volumes', value: (slowestAt - second.startedNs) / 1e6, unit: 'ms', goal: 300 },
    { what: 'I/O errors at a restart under load, 200 volumes', value: unanswered + wrong, unit: '', goal: 0 },
  ];
}

/** A volume under load grows again and again. Growing takes nothing from the requests: no disk is opened, and nothing waits for the state to be saved. */
async function growth(): Promise<Fact[]> {
  await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
  const span = 32_768;
  const path = lab.disk('grows', 512 * span);
  const [state, socket] = [join(lab.directory, 'state'), join(lab.directory, 'target.sock')];
  // One request at a time, without polling: the kernel stops a program with real-time priority that is always busy, for 50 ms of each second.
  const program = [...ON_TARGET_CPU, TARGET_PROGRAM, '--poll', '0'];
  lab.process([...program, '--interface', 'target0', '--state', state, '--socket', socket]);
  const target = new GrpcTarget(socket);
  const limit = AbortSignal.timeout(120_000);
  while (!existsSync(socket)) await setTimeout(10, undefined, { signal: limit });
  const volume = { uid: 'v', shelf: 7, slot: 0, path, serial: 's', readOnly: false, macs: ['02:00:5e:00:53:0a'], writesNeedLock: false };
  await target.setInterfaces(['target0'], limit);
  const resize = async (bytes: number): Promise<void> => {
    await truncate(path, bytes);
    await target.export({ ...volume, bytes }, limit);
  };
  await resize(512 * span);
  const options = { span, window: 1 };
  await load(lab, { operation: 'fill', ...options });
  const quiet = await load(lab, { operation: 'write', ...options, seconds: 4 });
  const under = load(lab, { operation: 'write', ...options, seconds: 4 });
  await setTimeout(1000);
  for (let time = 1; time <= GROWTHS; time++) {
    await resize(512 * span + time * MIB);
    await setTimeout(20);
  }
  const { max, unanswered, wrong } = await under;
  target.close();
  return [
    { what: 'longest write, 1 outstanding', value: quiet.max / 1000, unit: 'ms' },
    { what: `longest write while the volume grows ${GROWTHS} times`, value: max / 1000, unit: 'ms', goal: 20 },
    { what: 'I/O errors meanwhile', value: unanswered + wrong, unit: '', goal: 0 },
  ];
}

/** A volume in memory, read beside one on disk that is written durably with all it takes. */
async function neighbour(): Promise<Fact[]> {
  await using lab = new WireLab({ mtu: 9000, folder: MEMORY });
  await using slow = await mkdtempDisposable(join(DISK, 'aoe-bench-'));
  const path = join(slow.path, 'disk');
  await writeFile(path, '');
  await truncate(path, 16 * MIB);
  await serve(lab, [...disks(lab, 1, 16 * MIB), { shelf: 7, slot: 1, path }]);
  const volume = (slot: number) => ({ volume: `7.${slot}`, span: 32_768 });
  await load(lab, { operation: 'fill', ...volume(0) });
  const alone = await load(lab, { operation: 'read', ...volume(0), window: 1 });
  const beside = load(lab, { operation: 'write', ...volume(1), window: 64, seconds: 4 });
  await setTimeout(1000);
  const both = await load(lab, { operation: 'read', ...volume(0), window: 1 });
  const { p99 } = await beside;
  return [
    { what: 'p99 of a fast volume, 1 outstanding, alone', value: alone.p99, unit: 'µs' },
    { what: 'p99 of the same beside one on disk under 64 durable writes', value: both.p99, unit: 'µs' },
    { what: 'p99 of those writes', value: p99, unit: 'µs' },
  ];
}

export const ALONE: Readonly<Record<string, Measurement>> = {
  'idle-64': () => idle(64, 10),
  'idle-1000': () => idle(1000, 32),
  cost: costPerVolume,
  ring: ringLoss,
  restart,
  growth,
  neighbour,
};

export function factTable(facts: readonly Fact[]): string {
  const number = (value: number) => (Number.isInteger(value) ? String(value) : value.toPrecision(3));
  const lines = facts.map(({ what, value, unit, goal }) => {
    const bound = goal === undefined ? '' : `≤ ${goal} ${value <= goal ? '✓' : '✗'}`;
    return `| ${what} | ${`${number(value)} ${unit}`.trim()} | ${bound} |`;
  });
  return ['| our target | measured | goal |', '| --- | --- | --- |', ...lines].join('\n');
}
