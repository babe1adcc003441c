import { type StdioOptions, spawn } from 'node:child_process';
import { appendFileSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NETNS, RUN } from '../paths.ts';
import { poll } from './shell.ts';

const LEDGER = join(RUN, 'pids');

/** Start time of a process, which with its pid names it for as long as the machine is up; undefined when there is none. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Writes a process that we started down, so that any later run can end it, and only it. */
export function record(pid: number): void {
  appendFileSync(LEDGER, `${pid} ${startTime(pid) ?? 'gone'}\n`);
}

export function isAlive(pid: number): boolean {
  return startTime(pid) !== undefined;
}

/** The processes that are written down and still are the same. */
function recorded(): number[] {
  if (!existsSync(LEDGER)) return [];
  return readFileSync(LEDGER, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([pid, start]) => pid !== undefined && startTime(Number(pid)) === start)
    .map(([pid]) => Number(pid));
}

/** The recorded process with this word in its command line. @throws Error when there is none */
export function pidOf(word: string): number {
  const pid = recorded().find((each) => readFileSync(`/proc/${each}/cmdline`, 'utf8').includes(word));
  if (pid === undefined) throw new Error(`no process of the cluster has ${word} in its command line`);
  return pid;
}

/** Kills the process groups of all that is written down, and waits until they are gone. @throws Error when one stays */
export async function killRecorded(): Promise<void> {
  const pids = recorded();
  for (const pid of pids) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended by itself meanwhile.
    }
  }
  await poll(async () => (pids.some(isAlive) ? undefined : true), {
    timeoutMs: 10_000,
    intervalMs: 10,
    what: "the cluster's processes to end",
    explain: () => pids.filter(isAlive).join(' '),
  });
}

/** Starts a program in the cluster's network namespace, in a process group of its own, so that it outlives us. */
export function startInNetns(
  command: string,
  args: string[],
  options: { log: string; env?: NodeJS.ProcessEnv; stdio?: StdioOptions; nice?: number },
) {
  const log = openSync(options.log, 'a');
  const child = spawn('ip', ['netns', 'exec', NETNS, command, ...args], {
    detached: true,
    stdio: options.stdio ?? ['ignore', log, log],
    env: options.env ?? process.env,
    cwd: RUN,
  });
  if (child.pid === undefined) throw new Error(`${command} could not be started: is it installed?`);
  record(child.pid);
  child.unref();
  return child;
}
