import { readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat a second: USER_HZ, the same on all architectures of Linux that Node.js runs on. */
const TICKS = 100;

/** CPU time that a process and its ended children have used so far, in milliseconds. */
export function cpuMs(pid: number): number {
  // The name of the program, in brackets, may contain spaces.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5); the third one is the first here.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return (ticks * 1000) / TICKS;
}

/** Resident set size in MiB. */
export function rssMib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}
