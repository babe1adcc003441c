import { spawn } from 'node:child_process';
import { TOOL_ENVIRONMENT } from './config.ts';

export interface ExecOptions {
  /** Limit in milliseconds: then the program and all that it has started are killed. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly input?: string | undefined;
  /**
   * Called when the program was killed before it ended: at its limit, or by the signal. `ended` is fulfilled when the program has
   * really ended. A program that waits for a dead disk (state D) ends only when the disk answers.
   */
  readonly onKilled?: (ended: Promise<void>) => void;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** How programs are started: {@link exec}, or a script in tests. Rejects with an error that has `code` and `stderr`. */
export type Exec = (program: string, args: readonly string[], options: ExecOptions) => Promise<ExecResult>;

/** A program that failed: `code` is its exit status, undefined when it was killed, took too long, or could not be started. */
export class ExecError extends Error {
  readonly command: string;
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(command: string, what: string, code: number | undefined, { stdout, stderr }: ExecResult, options?: ErrorOptions) {
    const said = stderr.trim() || stdout.trim();
    super(`${command}: ${what}${said === '' ? '' : `: ${said.slice(-1000)}`}`, options);
    this.name = 'ExecError';
    this.command = command;
    this.code = code;
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

/** What the program wrote to its error output, for a thrown value of an {@link Exec}. */
export function stderrOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'stderr' in error && typeof error.stderr === 'string' ? error.stderr : '';
}

const MAX_OUTPUT = 16 << 20;
/** How long output is read after a program has ended, in milliseconds: a process that it left behind may hold the pipes open for ever. */
const LINGER_MS = 500;

/**
 * Runs a program without a shell, and returns its output. Ends at its limit even when the program cannot be killed, as one that waits
 * for a dead disk.
 * @throws ExecError
 */
export function exec(program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const { timeoutMs, signal, input, onKilled } = options;
  const command = [program, ...args].join(' ');
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    // In a process group of its own, so that everything it starts can be killed with it.
    const child = spawn(program, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: TOOL_ENVIRONMENT });
    const output = { stdout: '', stderr: '' };
    child.on('error', (error) =>
      settle(() => reject(new ExecError(command, `could not be started (${error.message})`, undefined, output, { cause: error }))),
    );
    let limit: NodeJS.Timeout | undefined;
    let linger: NodeJS.Timeout | undefined;
    let settled = false;
    const settle = (finish: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(limit);
      clearTimeout(linger);
      signal?.removeEventListener('abort', abort);
      for (const stream of child.stdio) stream?.destroy();
      finish();
    };
    const kill = (error: unknown) => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // It ended at the same moment.
        }
        onKilled?.(new Promise((ended) => child.once('exit', () => ended())));
      }
      child.unref();
      settle(() => reject(error));
    };
    const abort = () => kill(signal?.reason);
    const end = (code: number | null, killedBy: NodeJS.Signals | null) => {
      const what = killedBy ? `was killed by ${killedBy}` : `exit status ${code}`;
      if (code === 0) settle(() => resolve(output));
      else settle(() => reject(new ExecError(command, what, code ?? undefined, output)));
    };
    // The program could not be started, and may have no pipes: event "error" follows.
    if (child.pid === undefined) return;
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < MAX_OUTPUT) output[name] += text;
      });
    }
    limit = setTimeout(
      () => kill(new ExecError(command, `took longer than ${timeoutMs / 1000} s and was killed`, undefined, output)),
      timeoutMs,
    );
    signal?.addEventListener('abort', abort, { once: true });
    child.on('exit', (...how) => {
      if (!settled) linger = setTimeout(() => end(...how), LINGER_MS);
    });
    child.on('close', end);
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}
