// One per guest. It outlives the process that started it: runs linux.uml, holds the guest's serial line, and takes requests on a
// unix socket, a JSON line each. Started by guest.ts as: supervisor.ts CONFIG.json
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { record } from './processes.ts';

export interface SupervisorConfig {
  name: string;
  directory: string;
  socket: string;
  cpu: number;
  argv: string[];
  env: Record<string, string>;
}

export type Request = { op: 'ready' } | { op: 'exec'; script: string; timeoutMs: number } | { op: 'start'; script: string } | { op: 'pid' };
export interface Reply {
  error?: string;
  code?: number;
  stdout?: string;
  stderr?: string;
  pid?: number;
}

interface Job {
  stdout: Buffer[];
  stderr: Buffer[];
  end: (reply: Reply) => void;
}

const config: SupervisorConfig = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const log = openSync(join(config.directory, 'console.log'), 'a');
// One CPU per guest: UML's ptrace ping-pong across CPUs is ten times slower.
const uml = spawn('taskset', ['-c', String(config.cpu), 'linux.uml', ...config.argv], {
  stdio: ['ignore', log, log, 'pipe'],
  env: { ...process.env, ...config.env },
});
closeSync(log);
// It gets a session of its own, so that a signal to our group does not kill it.
if (uml.pid !== undefined) record(uml.pid);
const serial = uml.stdio[3] as Duplex;
const jobs = new Map<string, Job>();
let nextId = 0;
let signalReady: () => void;
const ready = new Promise<void>((resolve) => {
  signalReady = resolve;
});

uml.on('exit', (code, signal) => {
  for (const job of jobs.values()) job.end({ error: `${config.name} died (${signal ?? code})` });
  rmSync(config.socket, { force: true });
  process.exit(0);
});
serial.on('error', () => {});
let buffered = '';
serial.setEncoding('latin1');
serial.on('data', (data: string) => {
  const lines = (buffered + data).split('\n');
  buffered = lines.pop() ?? '';
  for (const line of lines) obey(line);
});

function obey(line: string): void {
  const [word, id = '', first = '', second = ''] = line.split(' ');
  if (word === 'ready') signalReady();
  const job = jobs.get(id);
  if (!job) return;
  if (word === 'out') job.stdout.push(Buffer.from(first, 'base64'));
  else if (word === 'err') job.stderr.push(Buffer.from(first, 'base64'));
  else if (word === 'end') {
    jobs.delete(id);
    const signal = Number(second);
    job.end({
      code: signal ? 128 + signal : Number(first),
      stdout: Buffer.concat(job.stdout).toString(),
      stderr: Buffer.concat(job.stderr).toString(),
    });
  }
}

/** Shows what a script that takes too long may wait for: what waits in the kernel, and whether interrupts and frames still come. */
const PICTURE = `
echo; for sample in 1 2; do cat /proc/uptime; grep SIG /proc/interrupts; grep vec /proc/net/dev; sleep 1; done
for process in $(ps -eo pid=,stat= | awk '$2 ~ /^D/ { print $1 }'); do
  echo "$process $(tr '\\0' ' ' < /proc/$process/cmdline)"; head -n 12 /proc/$process/stack; done
grep -r . /sys/block/etherd*/{state,inflight}; dmesg | tail -n 3`;
const PICTURE_MS = 8_000;
/** In which a script that was killed ends, if SIGKILL can end it. */
const END_MS = 5_000;

function execute(script: string, timeoutMs: number | undefined): Promise<Reply> {
  const id = String(nextId++);
  writeFileSync(join(config.directory, `${id}.sh`), script);
  const giveUp = async () => {
    const picture = script === PICTURE ? undefined : await execute(PICTURE, PICTURE_MS);
    serial.write(`signal ${id} KILL\n`);
    const job = jobs.get(id);
    if (picture) job?.stderr.push(Buffer.from(`killed after ${timeoutMs} ms, when the guest had:${picture.stdout}${picture.stderr}`));
    await sleep(END_MS);
    if (job && jobs.delete(id)) job.end({ error: 'SIGKILL did not end it', stderr: Buffer.concat(job.stderr).toString() });
  };
  return new Promise((resolve) => {
    const limit = timeoutMs === undefined ? undefined : setTimeout(() => void giveUp(), timeoutMs);
    jobs.set(id, {
      stdout: [],
      stderr: [],
      end: (reply) => {
        clearTimeout(limit);
        resolve(reply);
      },
    });
    serial.write(`run ${id}\n`);
  });
}

async function answer(request: Request): Promise<Reply> {
  switch (request.op) {
    case 'ready':
      await ready;
      return {};
    case 'exec':
      return execute(request.script, request.timeoutMs);
    case 'start':
      void execute(request.script, undefined);
      return {};
    case 'pid':
      return uml.pid === undefined ? { error: 'not running' } : { pid: uml.pid };
  }
}

function serve(socket: Socket): void {
  let text = '';
  socket.setEncoding('utf8');
  socket.on('error', () => {});
  socket.on('data', (data: string) => {
    text += data;
    if (!text.endsWith('\n')) return;
    void answer(JSON.parse(text)).then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
  });
}

rmSync(config.socket, { force: true });
createServer({ allowHalfOpen: true }, serve).listen(config.socket);
