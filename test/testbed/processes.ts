import { type StdioOptions, spawn } from 'node:child_process';
import { appendFileSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NETNS, RUN } from './paths.ts';

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

/** Kills the process groups of all that is written down and still the same process. */
export function killRecorded(): void {
  if (!existsSync(LEDGER)) return;
  for (const line of readFileSync(LEDGER, 'utf8').trim().split('\n')) {
    const [pid, start] = line.split(' ');
    if (!pid || startTime(Number(pid)) !== start) continue;
    try {
      process.kill(-Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself meanwhile.
    }
  }
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
