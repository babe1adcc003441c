import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { WireLab } from '../wire/wire-lab.ts';
import { LOAD_PROGRAM, ON_INITIATOR_CPU } from './targets.ts';

const run = promisify(execFile);

/** What `aoe-load` prints; times in microseconds. */
export interface Result {
  seconds: number;
  answered: number;
  iops: number;
  megabytesPerSecond: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
  /** When the slowest request was answered: ns of the monotonic clock. */
  slowestAt: number;
  retransmits: number;
  late: number;
  wrong: number;
  unanswered: number;
  /** Blocks read back after writing, and compared. */
  compared: number;
  dropped: number;
  ownCpuPerRequest: number;
  cpuPerRequest?: number;
  cpuShare?: number;
  residentKiB?: number;
}

export type Options = Record<string, string | number | undefined>;

/** Runs the load generator on the lab's cable, on its own CPU. An answer that is wrong or missing is an error. */
export async function load(lab: WireLab, options: Options, prefix: readonly string[] = ON_INITIATOR_CPU): Promise<Result> {
  const given = Object.entries({ interface: 'host0', volume: '7.0', ...options }).filter(([, value]) => value !== undefined);
  const args = given.flatMap(([name, value]) => [`--${name}`, String(value)]);
  const limit = { timeout: 120_000 };
  const { stdout } = await run('ip', ['netns', 'exec', lab.name, ...prefix, LOAD_PROGRAM, ...args], limit);
  return JSON.parse(stdout) as Result;
}
