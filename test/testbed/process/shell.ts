import { execFile, execFileSync } from 'node:child_process';
import { NETNS } from '../paths.ts';
import { PATIENCE } from './patience.ts';

const MAX_OUTPUT = 64 << 20;

export class CommandError extends Error {
  readonly stderr: string;
  constructor(what: string, code: string | number | undefined, stdout: string, stderr: string) {
    super(`${what}\nended with ${code ?? 'no status'}\n${stdout.slice(-4000)}${stderr.slice(-4000)}`);
    this.stderr = stderr;
  }
}

/** Runs a bash script on the host, stopping at its first error, and gives its output. */
export function sh(script: string): string {
  return execFileSync('/bin/bash', ['--norc', '-euc', script], {
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The same in the cluster's network namespace. */
export function shInNetns(script: string): string {
  return execFileSync('ip', ['netns', 'exec', NETNS, '/bin/bash', '--norc', '-euc', script], {
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export interface RunOptions {
  input?: string;
  /** Otherwise two minutes. A machine may take {@link PATIENCE} times as long. */
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

/** Runs a program and gives its output. @throws CommandError with both outputs when it fails or takes too long */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        encoding: 'utf8',
        maxBuffer: MAX_OUTPUT,
        timeout: (options.timeoutMs ?? 120_000) * PATIENCE,
        killSignal: 'SIGKILL',
        env: options.env ?? process.env,
      },
      (error, stdout, stderr) => {
        if (error) reject(new CommandError(`${command} ${args.join(' ')}`, error.code ?? error.signal ?? 'a time-out', stdout, stderr));
        else resolve(stdout);
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs a program in the cluster's network namespace. */
export function runInNetns(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  return run('ip', ['netns', 'exec', NETNS, command, ...args], options);
}

export interface PollOptions {
  /** A machine may take {@link PATIENCE} times as long, unless the limit is `exact`. */
  timeoutMs: number;
  /** The limit is what the test shows. */
  exact?: boolean;
  /** What is waited for, for the error's reader. */
  what: string;
  /** Otherwise a tenth of what was waited so far, at least 100 and at most 1000. */
  intervalMs?: number;
  /** Adds to the error what there is instead. */
  explain?: () => Promise<string> | string;
}

/** Most of the questions are programs of their own, and what is waited for needs the processors, too: who has waited long asks less often. */
const pause = (waitedMs: number): number => Math.min(Math.max(100, waitedMs / 10), 1_000);

/** Asks until the answer is not undefined. For what cannot be awaited: the state of another machine. */
export async function poll<T>(ask: () => Promise<T | undefined>, options: PollOptions): Promise<T> {
  const began = performance.now();
  const limitMs = options.timeoutMs * (options.exact ? 1 : PATIENCE);
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    const waitedMs = performance.now() - began;
    if (waitedMs > limitMs) break;
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? pause(waitedMs)));
  }
  const found = await Promise.resolve(options.explain?.()).catch((error) => String(error));
  throw new Error(`waited ${limitMs / 1000} s for ${options.what}${found ? `; found:\n${found}` : ''}`, { cause: lastError });
}
