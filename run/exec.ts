import type { Socket } from 'node:net';
import { type Exit, spawn } from './spawn.ts';

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
  /**
   * Called with each part of the program's output, which is then not collected. The next part is read when the promise is fulfilled, so
   * a program with a long output waits for its reader. When it is rejected, the program is killed.
   */
  readonly onOutput?: (text: string) => Promise<void>;
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
export async function exec(program: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const { timeoutMs, signal, input, onKilled, onOutput } = options;
  signal?.throwIfAborted();
  const command = [program, ...args].join(' ');
  const output = { stdout: '', stderr: '' };
  const started = spawn(program, args, input);
  let hasEnded = false;
  const run = async (): Promise<Exit> => {
    const child = await started.catch((error: Error) => {
      throw new ExecError(command, `could not be started (${error.message})`, undefined, output, { cause: error });
    });
    const read = Promise.all([
      onOutput ? hand(child.stdout, onOutput, kill) : collect(child.stdout, (text) => append(output, 'stdout', text)),
      collect(child.stderr, (text) => append(output, 'stderr', text)),
    ]);
    const exit = await child.exited;
    hasEnded = true;
    // A reader may be slower than that: then the limit of the program holds.
    const linger = onOutput ? undefined : setTimeout(child.closeStreams, LINGER_MS);
    await read;
    clearTimeout(linger);
    child.closeStreams();
    return exit;
  };
  const end = async (): Promise<void> => {
    const child = await started.catch(() => undefined);
    child?.closeStreams();
    child?.kill();
    await child?.exited;
  };
  const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
  let isStopped = false;
  const kill = (reason: unknown): void => {
    // Its streams are closed with it, so the reader of its output fails, too.
    if (isStopped) return;
    isStopped = true;
    const ended = end();
    if (!hasEnded) onKilled?.(ended);
    stop(reason);
  };
  const onAbort = (): void => kill(signal?.reason);
  const onLimit = (): void => kill(new ExecError(command, `took longer than ${timeoutMs / 1000} s and was killed`, undefined, output));
  const limit = setTimeout(onLimit, timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { code, signal: killedBy } = await Promise.race([run(), stopped]);
    if (code === 0) return output;
    throw new ExecError(command, killedBy ? `was killed by ${killedBy}` : `exit status ${code}`, code ?? undefined, output);
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Reads a stream until it is closed. */
function collect(stream: Socket, onText: (text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    stream
      .setEncoding('utf8')
      .on('data', onText)
      .on('error', () => {})
      .on('close', () => resolve());
  });
}

/** Hands a stream to its reader part by part, until it is closed. */
async function hand(stream: Socket, onOutput: (text: string) => Promise<void>, fail: (reason: unknown) => void): Promise<void> {
  stream.setEncoding('utf8');
  try {
    for await (const text of stream) await onOutput(text as string);
  } catch (error) {
    fail(error);
  }
}

function append(output: { stdout: string; stderr: string }, name: 'stdout' | 'stderr', text: string): void {
  if (output[name].length < MAX_OUTPUT) output[name] += text;
}
